"""Errors say whose turn it is: ours (try again) or yours (change something)."""


class LastgoodError(Exception):
    """The base of every error that this project raises on purpose."""


class TransientError(LastgoodError):
    """It is our turn: nothing is wrong with what was asked, try again later."""


class TerminalError(LastgoodError):
    """It is your turn: trying again cannot help until somebody changes something."""


class InvalidSpecError(TerminalError):
    """A field says something that cannot be acted on; the message begins with the field's path."""


class RefusedError(LastgoodError):
    """A fault of ours: a decision asks for a switch that the rules of eligibility do not allow; nothing is written."""


class BrokenError(LastgoodError):
    """A part that must run for ever has ended; the process ends too, and is started again."""
