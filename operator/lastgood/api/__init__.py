"""What a user sees: names, conditions and the kinds, parsed once into frozen values."""
