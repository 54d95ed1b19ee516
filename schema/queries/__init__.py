"""What callers can ask: one file for each subject."""
