"""What was found and done: the statuses."""
