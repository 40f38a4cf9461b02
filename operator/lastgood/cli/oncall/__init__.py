"""`kubectl lastgood`, for people on call."""
