"""The edge to the API server: what crosses it, and nothing that decides."""
