"""The database: its tables' catalogue, the sessions, and the embedded server."""

from coalition.db.engine import Database
from coalition.db.metadata import metadata

__all__ = ["Database", "metadata"]
