"""`python -m raypose` is `raypose`. Runs in: command line."""

from raypose.cli import main

main()
