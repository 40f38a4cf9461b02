"""What turns events into passes: the queue, the host, the reconciler."""
