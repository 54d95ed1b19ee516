"""What callers can have done: one file for each kind of caller."""
