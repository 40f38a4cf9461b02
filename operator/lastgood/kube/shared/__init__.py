"""What is not about one object: the quarantine, what is remembered, trust policies, who needs which digest."""
