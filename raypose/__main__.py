"""`python -m raypose` is `raypose`. Runs in: command line."""

from raypose.cli.app import main

main()
