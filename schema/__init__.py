"""The GraphQL API and the composition root: the only room that knows the web."""
