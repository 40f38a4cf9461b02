"""Runs a cluster until someone kills it: `python -m tests.cluster.plane.starter PROFILE NAME`, for tests that do."""

from __future__ import annotations

import signal
import sys
import time

from tests.cluster.cluster import running

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores Ctrl-C
    with running(profile=sys.argv[1], name=sys.argv[2]):
        print("ready", flush=True)  # noqa: T201  # the test waits for it
        while True:
            time.sleep(1)  # and not pause(): a signal that comes right before that call is not noticed
