"""What people ask for, and what is kept of it beyond a ModelDeployment."""
