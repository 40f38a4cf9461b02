"""Pickles: what a loader of them would import and call."""
