"""A workload as it is read, whatever its kind, and what is written to its pod template."""
