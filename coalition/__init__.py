"""The points ledger of a loyalty coalition, and the members who own the points.

Knows nothing of HTTP, GraphQL or OAuth: those live in the rooms above.
"""
