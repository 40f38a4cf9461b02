"""What the operator's Jobs run."""
