"""What a remote checkpoint becomes on this disk."""
