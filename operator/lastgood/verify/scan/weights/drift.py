"""How far weights are from those of a baseline checkpoint, and whether the change is everywhere or in one place.

Training moves every tensor a little. An edit (a backdoor written into a few rows, a fact edited in one layer)
moves a few tensors or rows a lot, and leaves the rest bit for bit as it was.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Final

from lastgood.api.names import Severity
from lastgood.verify.scan.containers.part import Part
from lastgood.verify.scan.readers.safetensors import BITS, Tensor
from lastgood.verify.scan.values import Drift, Finding, Pattern, anomaly
from lastgood.verify.scan.weights import numbers

_FEW: Final = 0.25  # of the tensors: no more than these are changed when a change is localised
_OUTLIER: Final = 10.0  # times the median change
_NOTABLE: Final = 0.01  # a relative change below this is no outlier, however still the others are
_FEW_ROWS: Final = 0.02
_ENERGY: Final = 0.9  # of the squared change lies in those rows
_MAX_ROWS: Final = 2**20  # a longer table is looked at as one row
_MANY: Final = 8  # fewer tensors or rows tell no pattern
_MOST_CHANGED: Final = 1e9  # also of a tensor that was all zeros, or is not finite now
_MOST: Final = 10  # names in one finding

Place = tuple[Part, Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """How one tensor changed: relative to the old norm, and the rows that hold most of it."""

    name: str
    file: str
    relative: float
    rows: int = 0
    moved: int = 0  # rows that hold 90 % of the squared change
    first: tuple[int, ...] = ()
    share: float = 0.0


def compare(old: Mapping[str, Place], new: Mapping[str, Place]) -> tuple[Drift | None, list[Finding]]:
    """Compare tensors by name, one pair at a time.

    Raises:
        NumpyMissingError: if numpy is not installed.
    """
    np = numbers.numpy()
    if new and not old:
        message = "drift not checked: the baseline has no tensors, so it is no older checkpoint of this model"
        return None, [anomaly(Severity.HIGH, "not-checked-drift", ".", message, "")]
    findings = list(_structure(old, new))
    changes = [
        _change(np, old[name], new[name])
        for name in sorted(old.keys() & new.keys())
        if _alike(old[name], new[name]) and numbers.measurable(new[name][1].dtype)
    ]
    if not changes:
        return None, findings
    drift = _drift(changes)
    return drift, [*findings, *_tell(drift, changes)]


def _alike(one: Place, other: Place) -> bool:
    return (one[1].dtype, one[1].shape) == (other[1].dtype, other[1].shape)


def _structure(old: Mapping[str, Place], new: Mapping[str, Place]) -> Iterator[Finding]:
    for name in sorted(new.keys() - old.keys())[:_MOST]:
        message = "a tensor that the baseline does not have"
        yield anomaly(Severity.MEDIUM, "drift-structure", new[name][0].name, message, name)
    for name in sorted(old.keys() - new.keys())[:_MOST]:
        message = f"a tensor of the baseline's {old[name][0].name} is missing"
        yield anomaly(Severity.MEDIUM, "drift-structure", ".", message, name)
    for name in sorted(old.keys() & new.keys()):
        before, after = old[name][1], new[name][1]
        if not _alike(old[name], new[name]):
            message = "a tensor has another type or shape than in the baseline"
            evidence = f"{name}: {before.dtype} {list(before.shape)}, now {after.dtype} {list(after.shape)}"
            yield anomaly(Severity.MEDIUM, "drift-structure", new[name][0].name, message, evidence)
        elif not numbers.measurable(after.dtype):
            message = f"drift not checked: the type {after.dtype} is not measured"
            yield anomaly(Severity.LOW, "not-checked-drift", new[name][0].name, message, name)


def _change(np: numbers.Numpy, old: Place, new: Place) -> Change:
    """Measure one pair in chunks of whole rows; of a row that is longer than a chunk, chunk by chunk."""
    tensor = new[1]
    rows = tensor.shape[0] if len(tensor.shape) > 1 and 0 < tensor.shape[0] <= _MAX_ROWS else 1
    width = max(1, (tensor.end - tensor.start) // rows)
    chunk = numbers.COUNT * BITS[tensor.dtype] // 8
    step = max(1, chunk // width) * width if width <= chunk else chunk
    moved, norm, at = np.zeros(rows), 0.0, 0
    for before, after in zip(numbers.chunks(*old, step), numbers.chunks(*new, step), strict=True):
        was = numbers.doubles(np, before, tensor.dtype)
        with np.errstate(all="ignore"):  # NaN and Inf are told of by the values scanner
            norm += float(np.einsum("i,i->", was, was))  # np.dot starts threads, which spin
            if before != after:
                count = max(1, len(before) // width)
                change = (numbers.doubles(np, after, tensor.dtype) - was).reshape(count, -1)
                square = np.einsum("ij,ij->i", change, change)
                moved[at // width : at // width + count] += np.nan_to_num(square, nan=np.inf, posinf=np.inf)
        at += len(before)
    return _summary(np, new, moved, norm)


def _summary(np: numbers.Numpy, new: Place, moved: numbers.Array, norm: float) -> Change:
    total = float(moved.sum())
    relative = min(_MOST_CHANGED, (total / norm) ** 0.5) if norm else _MOST_CHANGED if total else 0.0
    order = np.argsort(moved)[::-1]
    share = np.cumsum(moved[order]) / total if 0 < total < float("inf") else np.ones(moved.size)
    count = int(np.searchsorted(share, _ENERGY)) + 1
    return Change(
        name=new[1].name,
        file=new[0].name,
        relative=relative,
        rows=int(moved.size),
        moved=count if total else 0,
        first=tuple(int(row) for row in order[: min(count, 5)]),
        share=float(share[min(count, moved.size) - 1]),
    )


def _drift(changes: list[Change]) -> Drift:
    changed = [change for change in changes if change.relative]
    pattern = Pattern.GLOBAL
    if not changed:
        pattern = Pattern.IDENTICAL
    elif _few(changes, changed) or _outliers(changed) or any(map(_in_few_rows, changed)):
        pattern = Pattern.LOCALISED
    return Drift(
        pattern=pattern,
        compared=len(changes),
        changed=len(changed),
        median=median(change.relative for change in changes),
        largest=max(change.relative for change in changes),
    )


def _few(changes: list[Change], changed: list[Change]) -> bool:
    return len(changes) >= _MANY and 0 < len(changed) <= _FEW * len(changes)


def _outliers(changed: list[Change]) -> list[Change]:
    """Return the tensors that changed far more than most of those that changed."""
    if len(changed) < _MANY:
        return []
    limit = max(_NOTABLE, _OUTLIER * median(change.relative for change in changed))
    found = [change for change in changed if change.relative > limit]
    return found if len(found) <= _FEW * len(changed) else []


def _in_few_rows(change: Change) -> bool:
    return change.rows >= 4 * _MANY and change.moved <= max(1, int(_FEW_ROWS * change.rows)) and change.relative > 0


def _tell(drift: Drift, changes: list[Change]) -> Iterator[Finding]:
    changed = [change for change in changes if change.relative]
    numbers_ = f"{drift.changed} of {drift.compared} tensors, median {drift.median:.3g}, largest {drift.largest:.3g}"
    if drift.pattern is Pattern.GLOBAL:
        message = "the weights differ from the baseline everywhere, as after training"
        yield anomaly(Severity.LOW, "drift-global", ".", message, numbers_)
    if _few(changes, changed):
        message = "a few tensors differ from the baseline and the others are bit for bit its own, as after an edit"
        yield anomaly(Severity.HIGH, "drift-localised", changed[0].file, message, f"{numbers_}: {_names(changed)}")
    outliers = _outliers(changed)
    if outliers:
        message = "a few tensors changed far more than the others"
        yield anomaly(Severity.HIGH, "drift-outlier", outliers[0].file, message, f"{numbers_}: {_names(outliers)}")
    for change in sorted(filter(_in_few_rows, changed), key=lambda change: -change.relative)[:_MOST]:
        message = f"tensor {change.name!r} changed in a few rows only, as after an edit"
        evidence = f"{change.moved} of {change.rows} rows hold {change.share:.1%} of the change: {list(change.first)}"
        yield anomaly(Severity.HIGH, "drift-rows", change.file, message, evidence)


def _names(changes: list[Change]) -> str:
    gravest = sorted(changes, key=lambda change: -change.relative)[:_MOST]
    return ", ".join(f"{change.name} {change.relative:.3g}" for change in gravest)
