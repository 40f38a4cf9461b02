"""A rollback, from its record to its outcome. Read course.py first."""
