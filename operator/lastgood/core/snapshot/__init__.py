"""The decisions about a ModelSnapshot."""
