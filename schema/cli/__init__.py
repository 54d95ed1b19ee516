"""What the API adds to the `coalition` command."""
