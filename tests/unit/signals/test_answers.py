"""JSON of a stranger: no text of any shape keeps the operator from everything else."""

import pytest

from lastgood.signals.answers import MAX_BYTES, UnusableValueError, parse_json

SHAPES = {
    "a text without an end, of escaped quotes": (b'"', b'\\"'),
    "the same, with a backslash at the end": (b'"', b'\\"', b"\\"),
    "quotes": (b"", b'"'),
    "pairs of quotes": (b"", b'""'),
    "backslashes": (b'"', b"\\"),
    "brackets": (b"", b"["),
    "closing brackets": (b"", b"]"),
    "commas": (b"[", b"1,"),
    "colons": (b"{", b'"":'),
    "spaces": (b"[", b" "),
    "minus signs": (b"", b"-"),
    "digits": (b"", b"9"),
    "exponents": (b"", b"1e9"),
    "escapes of a surrogate": (b'"', b"\\ud800"),
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("parts", SHAPES.values(), ids=SHAPES)
def test_text_of_the_largest_size_is_refused_whatever_its_shape(parts: tuple[bytes, ...]) -> None:
    """A pattern that looks at it once for each of its quotes would take an hour, and hold up every other thread."""
    begin, again, *end = parts
    body = begin + again * ((MAX_BYTES - len(begin) - 1) // len(again)) + b"".join(end)
    with pytest.raises(UnusableValueError):
        parse_json(body)
