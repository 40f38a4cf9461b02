"""A long reading says how far it is; a short one says nothing."""

import io

import pytest

from lastgood.cli.progress import Progress, in_bytes


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def told(stream: io.StringIO, seconds: list[float]) -> str:
    clock = iter([0.0, *seconds])
    with Progress(stream, clock=lambda: next(clock)) as progress:
        for second in seconds:
            progress(int(second * 1_000_000_000))
    return stream.getvalue()


def test_what_takes_less_than_two_seconds_needs_no_word() -> None:
    assert told(io.StringIO(), [0.1, 1.0, 1.9]) == ""


def test_log_gets_a_line_every_few_seconds() -> None:
    lines = told(io.StringIO(), [1.0, 2.0, 3.0, 6.9, 7.0, 11.0, 12.5]).splitlines()
    assert lines == [f"read {count} GB, 1.0 GB a second" for count in ("2.0", "7.0", "12.5")]


def test_terminal_gets_one_line_that_changes() -> None:
    text = told(Terminal(), [2.0, 2.1, 2.3])
    assert text == "\r\x1b[Kread 2.0 GB, 1.0 GB a second\r\x1b[Kread 2.3 GB, 1.0 GB a second\n"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (12_345_678, "12.3 MB"), (5e12, "5.0 TB")]
)
def test_sizes_read_well(count: float, text: str) -> None:
    assert in_bytes(count) == text
