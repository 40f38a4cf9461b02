"""Work off the event loop: verification, copies, scans, retention."""
