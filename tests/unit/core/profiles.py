"""How long the property tests look: a minute; much longer by `pytest tests/unit/core --hypothesis-profile=long`."""

from hypothesis import HealthCheck, Phase, settings

SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)


def load() -> None:
    """Register the profiles, and take the quick one unless the command line names another."""
    settings.register_profile("quick", max_examples=120, derandomize=True, deadline=None, suppress_health_check=SLOW)
    settings.register_profile(
        "long",
        max_examples=3000,
        deadline=None,
        suppress_health_check=SLOW,
        phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.target, Phase.shrink),
    )
    if settings.get_current_profile_name() not in ("quick", "long"):
        settings.load_profile("quick")
