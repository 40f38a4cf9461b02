"""S3-compatible stores."""
