"""Real servers for tests: an S3 store and an OCI registry, each a process of its own on a free port."""
