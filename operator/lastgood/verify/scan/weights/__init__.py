"""Numbers: what they are, and how far from those of a baseline."""
