"""One reader for each format, strict and bounded."""
