"""What a ModelDeployment says of itself: conditions, alerts, and how often they are written."""
