"""The `lastgood` command; `python -m lastgood` is the same."""

import sys

from lastgood.cli.app import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
