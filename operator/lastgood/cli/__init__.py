"""The command lines: `lastgood` for machines and for who publishes models, `kubectl lastgood` on call."""
