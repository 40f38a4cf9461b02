"""Runs the operator with a plan for the store every few seconds: `python often.py python -m lastgood run …`."""

import sys

from lastgood.cli.app import main
from lastgood.controller.errands import retainer

EVERY = 4.0

if __name__ == "__main__":
    retainer.EVERY = EVERY
    sys.exit(main(sys.argv[4:]))
