"""The types that the API answers with."""
