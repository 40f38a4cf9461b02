"""The kinds of signals: one module for each, whose `SIGNAL` is the class; a module here is all that makes it known."""
