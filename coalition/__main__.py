"""`python -m coalition`: the `coalition` command where no script is on the path."""

from coalition.cli import main

main()
