"""What people declare: the kinds, and what they consist of."""
