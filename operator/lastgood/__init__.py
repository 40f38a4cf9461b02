"""lastgood brings a served machine-learning model back to its last known-good snapshot."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("lastgood")
except PackageNotFoundError:  # the sources on a path, without an installation
    __version__ = "0+unknown"

__all__ = ["__version__"]
