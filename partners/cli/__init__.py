"""The operator's commands about partners and their access."""
