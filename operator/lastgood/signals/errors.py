"""Why a signal could not be read. None of these is ever a breach: they make a look inconclusive."""

from lastgood.api.names import LookError
from lastgood.errors import TerminalError, TransientError


class ExpressionError(TerminalError):
    """An expression that does not compile, or has no boolean answer for a result; one sentence."""


class ProbeError(TransientError):
    """An endpoint that gave no usable answer; one sentence of ours, in which nothing of the answer is shown."""

    def __init__(self, message: str, kind: LookError) -> None:
        super().__init__(message)
        self.kind = kind


class UnusableUrlError(ProbeError):
    """A URL that is never asked, whatever answers there."""


class RefusedAddressError(OSError):
    """An address that is never called, whatever name led to it; an OSError, for connectors expect those."""


class StandInError(RefusedAddressError):
    """A Service that stands for a host elsewhere (ExternalName): the name says nothing of who answers."""
