"""What a ModelDeployment binds: which fields of a workload, and what may be written to them."""
