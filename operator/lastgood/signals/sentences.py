"""Text for people from text that strangers wrote: one line, plain ASCII, bounded."""

_MAX_SENTENCE = 256


def one_sentence(text: str, limit: int = _MAX_SENTENCE) -> str:
    """Return the text as one line of printable ASCII of at most `limit` characters."""
    # Four times the limit is enough to fill it, and keeps a megabyte from being escaped for nothing.
    words = " ".join(text[: 4 * limit].split())
    plain = words.encode("ascii", "backslashreplace").decode("ascii")
    printable = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in plain)
    return printable if len(printable) <= limit else printable[: limit - 3] + "..."
