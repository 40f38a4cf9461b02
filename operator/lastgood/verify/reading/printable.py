"""Names from a disk that an attacker may have written, made fit for a terminal, a log and a status field."""

from lastgood.api.text import shortened


def printable(name: str, limit: int = 200) -> str:
    r"""Return a name with every character escaped that does not print, cut in the middle to `limit` (`shortened`).

    Bytes that are not UTF-8 arrive as surrogates (PEP 383) and leave as `\xNN`; bidirectional and zero-width
    characters do not print either, so a name cannot pretend to be another one.
    """
    if len(name) <= limit and name.isprintable() and "\\" not in name:
        return name  # most are, and there may be 100,000
    # A name is cut before it is escaped too: no more than a hash is in proportion to what an attacker can write.
    return shortened("".join(map(_escape, shortened(name, 2 * limit))), limit)


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # noqa: PLR2004 - the surrogates of PEP 383
        return f"\\x{code - 0xDC00:02x}"
    if character == "\\":
        return "\\\\"
    return character if character.isprintable() else character.encode("unicode_escape").decode()
