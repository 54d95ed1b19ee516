"""What settlement adds to the `coalition` command."""

from settlement.cli.report import report
from settlement.cli.settle import settle

__all__ = ["report", "settle"]
