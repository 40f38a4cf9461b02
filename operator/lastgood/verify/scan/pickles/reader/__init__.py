"""The child process that reads untrusted pickles. The parent starts this directory; nothing of it is imported there."""
