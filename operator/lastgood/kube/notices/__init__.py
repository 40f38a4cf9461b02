"""What people are told, and where it goes: one value, and a list of sinks."""
