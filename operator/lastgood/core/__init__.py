"""The decisions, pure: observed values in, decision out. Read rollback.py first."""
