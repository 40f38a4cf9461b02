"""The API server itself: one client, one connection, and its errors."""
