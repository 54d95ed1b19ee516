"""The demo: a year of a real grocery chain's loyalty scheme, replayed as a coalition of partners."""
