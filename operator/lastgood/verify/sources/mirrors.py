"""The same digest in several places: a bad copy is passed over and told; only no good copy is a failure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from lastgood.api.text import listed
from lastgood.verify.reading.meter import Cancelled, Progress
from lastgood.verify.sources.engine import verify_source
from lastgood.verify.sources.values import Sink, Source
from lastgood.verify.values import MAX_FINDINGS, FileEntry, Limits, Result, Verdict

_DEFAULT = Limits()


@dataclass(frozen=True, kw_only=True, slots=True)
class PassedOver:
    """A copy that was not good, and why: `result.verdict` tells a bad one from one that could not be read."""

    index: int
    where: str
    result: Result


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What came of several copies.

    Attributes:
        result: of the good copy. Without one: Unreadable if a copy could not be read, for that one may be good
            tomorrow, else DigestMismatch; its message and findings tell of all copies.
        index: which source is the good one, or None.
        passed_over: the ones before it, in their order.
    """

    result: Result
    index: int | None
    passed_over: tuple[PassedOver, ...]


def first_good(
    sources: Sequence[Source],
    expected: str,
    *,
    limits: Limits = _DEFAULT,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
    into: Callable[[int], Sink] | None = None,
    known: Sequence[FileEntry] = (),
) -> Choice:
    """Verify copies in their order until one is good.

    Args:
        sources: at least one.
        expected: `sha256:` and 64 hex digits.
        limits: what to put up with, of each source.
        progress: gets the bytes read so far, of one source after the other.
        cancelled: is asked at least once a second.
        into: makes a sink for the source with this index: what an earlier one got must not be mixed with it.
        known: a manifest of what should be there, for the findings.

    Raises:
        ValueError: if there is no source, or `expected` is malformed.
    """
    ask = partial(
        verify_source,
        limits=limits,
        progress=progress,
        cancelled=cancelled,
        known=known,
    )
    return first_of(
        sources,
        lambda index, source: ask(source, expected, into=into(index) if into else None),
        cancelled=cancelled,
    )


def first_of(
    sources: Sequence[Source], attempt: Callable[[int, Source], Result], *, cancelled: Cancelled | None = None
) -> Choice:
    """Attempt something with each source until a result is Verified, such as `verify_source` or `fetch`.

    Raises:
        ValueError: if there is no source.
    """
    if not sources:
        raise ValueError("sources: must name at least one")
    passed_over: list[PassedOver] = []
    for index, source in enumerate(sources):
        result = attempt(index, source)
        if result.verdict is Verdict.VERIFIED:
            return Choice(result=result, index=index, passed_over=tuple(passed_over))
        passed_over.append(PassedOver(index=index, where=source.describe(), result=result))
        if cancelled is not None and cancelled():
            break
    return Choice(result=_none_good(passed_over), index=None, passed_over=tuple(passed_over))


def _none_good(passed_over: Sequence[PassedOver]) -> Result:
    results = [passed.result for passed in passed_over]
    if len(results) == 1:
        return results[0]
    unreadable = any(result.verdict is Verdict.UNREADABLE for result in results)
    sentences = [f"{passed.result.verdict}: {passed.result.message}" for passed in passed_over]
    findings = [finding for result in results for finding in result.findings]
    return Result(
        verdict=Verdict.UNREADABLE if unreadable else Verdict.MISMATCH,
        expected=results[0].expected,
        actual=None,
        size_bytes=0,
        file_count=0,
        seconds=sum(result.seconds for result in results),
        findings=listed(findings, MAX_FINDINGS),
        message=f"none of {len(results)} copies is good: {'; '.join(sentences)}"[:1024],
    )
