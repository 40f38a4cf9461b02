"""Reading a disk that an attacker may have written, within bounds, and in a process that can be ended."""
