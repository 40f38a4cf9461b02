"""What listens on ports: health, and metrics."""
