"""The values scanner: NaN, Inf, and tensors that are one number from end to end."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lastgood.api.names import Severity
from lastgood.verify.scan.containers.part import Part
from lastgood.verify.scan.formats import Format
from lastgood.verify.scan.readers.safetensors import BITS, HeaderError, Tensor, tensors
from lastgood.verify.scan.scanner import Context
from lastgood.verify.scan.values import Finding, anomaly
from lastgood.verify.scan.weights import numbers

_SMALL: Final = 64  # numbers; a bias of zeros or a scale of ones is nothing to tell
_MOST: Final = 20  # findings of one rule in one file


@dataclass(frozen=True, kw_only=True, slots=True)
class ValuesScanner:
    """Looks at every number of a safetensors file."""

    name: str = "values"

    def applies(self, part: Part) -> bool:
        """Tell whether it holds tensors that can be read here."""
        return part.format is Format.SAFETENSORS and part.whole

    def run(self, part: Part, context: Context) -> Iterator[Finding]:
        """Yield the tensors with values that no healthy model has."""
        if not context.policy.values:
            return
        try:
            np, listed = numbers.numpy(), tensors(part)
        except numbers.NumpyMissingError as error:
            yield anomaly(Severity.LOW, "not-checked-values", part.name, f"values not checked: {error}")
            return
        except HeaderError:
            return  # the safetensors scanner tells it
        counts: Counter[str] = Counter()
        for tensor in listed:
            for found in _look(np, part, tensor):
                counts[found.rule] += 1
                if counts[found.rule] <= _MOST:
                    yield found


def _look(np: numbers.Numpy, part: Part, tensor: Tensor) -> Iterator[Finding]:
    bad, constant = _measure(np, part, tensor)
    if bad:
        message = f"tensor {tensor.name!r} holds numbers that are NaN or infinite"
        yield anomaly(Severity.HIGH, "values-not-finite", part.name, message, f"{bad} of {_count(tensor)}")
    if constant is not None and _count(tensor) >= _SMALL and len(tensor.shape) > 1:
        message = f"tensor {tensor.name!r} is one number from end to end"
        yield anomaly(Severity.LOW, "values-constant", part.name, message, f"bytes {constant.hex()}")


def _count(tensor: Tensor) -> int:
    return (tensor.end - tensor.start) * 8 // BITS[tensor.dtype]


def _measure(np: numbers.Numpy, part: Part, tensor: Tensor) -> tuple[int, bytes | None]:
    """Return how many numbers are not finite, and the bytes of the number that all are, if they are."""
    view, mask = numbers.EXPONENT.get(tensor.dtype, (f"<u{max(1, BITS[tensor.dtype] // 8)}", 0))
    bad, first = 0, None
    constant = True
    for data in numbers.chunks(part, tensor):
        bits = np.frombuffer(data, view)
        if mask:
            bad += int(np.count_nonzero((bits & mask) == mask))
        if first is None:
            first = bits[0]
        constant = constant and bool(bits[-1] == first) and bool((bits == first).all())
    return bad, first.tobytes() if constant and first is not None else None
