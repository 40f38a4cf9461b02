"""Why a remote source gave no bytes; all of these are "cannot read", and never "tampered"."""

from lastgood.verify.errors import UnreadableError


class CredentialsError(UnreadableError):
    """Credentials that may not be sent where they were needed, so nothing was sent."""


class UnsupportedError(UnreadableError):
    """Something that this version does not read: a compression, an index, a redirect; trying again does not help."""
