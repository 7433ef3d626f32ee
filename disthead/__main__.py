"""`python -m disthead` is the command `disthead`."""

import sys

from disthead.cli import main

if __name__ == "__main__":
    sys.exit(main())
