"""Which snapshot may serve, which is the last known good, and why not each of the others."""
