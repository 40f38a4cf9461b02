"""What serves while no rollback runs: forward deployment, drift, the soak, and the triggers that watch it."""
