"""lastgood brings a served machine-learning model back to its last known-good snapshot."""

__version__: str


def __getattr__(name: str) -> str:
    """Look up the version when it is first asked for: that takes longer than many a command."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - see above

    try:
        found = version("lastgood")
    except PackageNotFoundError:  # the sources on a path, without an installation
        found = "0+unknown"
    globals()[name] = found
    return found
