"""The kinds of workloads: one module for each, with its class as `TARGET`. That it is here makes it known."""
