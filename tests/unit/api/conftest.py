"""The profiles of the property tests."""

from tests.unit.core import profiles

profiles.load()
