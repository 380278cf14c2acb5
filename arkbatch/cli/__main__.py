"""`python -m arkbatch.cli`, for where the `arkbatch` command is not on the path."""

from arkbatch.cli import main

main()
