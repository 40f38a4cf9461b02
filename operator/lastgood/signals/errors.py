"""Why a signal could not be read. None of these is ever a breach: they make a look inconclusive."""

from lastgood.errors import TerminalError, TransientError


class ExpressionError(TerminalError):
    """An expression that does not compile, or has no boolean answer for a result; one sentence."""


class ProbeError(TransientError):
    """An endpoint that gave no usable answer; one sentence."""


class RefusedAddressError(OSError):
    """An address that is never called, whatever name led to it; an OSError, for connectors expect those."""
