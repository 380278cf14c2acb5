"""`python -m arkbatch`: the same as the command `arkbatch`."""

from arkbatch.cli import main

if __name__ == "__main__":
    main()
