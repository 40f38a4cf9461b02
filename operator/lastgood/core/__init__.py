"""The decisions, pure: observed values in, decision out. Read rollback/course.py first."""
