"""What trust policies make of the facts about a snapshot."""
