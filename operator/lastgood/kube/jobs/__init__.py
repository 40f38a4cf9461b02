"""Jobs near the bytes, on claims, and what of their answers counts."""
