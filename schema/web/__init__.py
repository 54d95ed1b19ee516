"""GraphQL over HTTP: requests in, limits, execution in worker threads, answers out."""
