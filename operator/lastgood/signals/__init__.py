"""The edge to metrics: what a workload's signals say, asked for without trusting the answer."""
