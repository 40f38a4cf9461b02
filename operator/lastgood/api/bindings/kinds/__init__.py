"""The kinds of bindings: one module for each, with its class as `BINDING`. That it is here makes it known."""
