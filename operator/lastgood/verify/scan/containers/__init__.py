"""Parts inside of parts: archives, and offsets in a file."""
