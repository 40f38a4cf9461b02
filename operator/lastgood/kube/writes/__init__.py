"""What is written to the API server, and what is told of it."""
