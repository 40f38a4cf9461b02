"""What evaluating an expression over a result would cost at most, said before it is evaluated.

The evaluator has no cost limit and cannot be stopped, so this is the limit. A step is one node visited once;
loops multiply by the number of elements that are really there, `map` and `filter` copy what they have
collected at each element, comparing and searching go by the size of the values. The same expression and
result always cost the same: a busy machine changes no verdict.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from lastgood.signals.errors import ExpressionError
from lastgood.signals.language.nodes import (
    Binary,
    Call,
    Choice,
    Index,
    ListOf,
    Literal,
    Macro,
    MapOf,
    Name,
    Node,
    Select,
    Unary,
    children,
)
from lastgood.signals.language.render import guarded

MAX_STEPS = 200_000

# Prices in steps, each measured; a step takes about 60 ns.
_ROUND = 3  # for each element of a loop
_COPY = 2  # for each value that is copied
_CONCATENATE = 8  # the same, and out to the guard and back
_GUARD = 20  # a call from the evaluator into Python
_CHARS = 16  # so many characters are looked at in one step
_PATTERN = 1500  # for each character of a pattern: compiling it, the worst is \w


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large a computed value may be, and anything inside it.

    Attributes:
        items: elements of a list or map.
        weight: values in it, at any depth, plus a part for their characters.
        chars: characters of a string.
    """

    items: int = 0
    weight: int = 1
    chars: int = 0

    def inner(self, _step: object = None) -> "Sizes":
        """Return the sizes of an element."""
        return self


@dataclass(frozen=True)
class Values:
    """The values of the result that a node may stand for, measured only when somebody asks."""

    values: Sequence[object]

    @cached_property
    def items(self) -> int:
        """The most elements of any."""
        return max((len(value) for value in self.values if isinstance(value, list | dict)), default=0)

    @cached_property
    def chars(self) -> int:
        """The most characters of any."""
        return max((len(value) for value in self.values if isinstance(value, str)), default=0)

    @cached_property
    def weight(self) -> int:
        """The heaviest of all."""
        return max(map(_weight, self.values), default=1)

    def inner(self, step: object = None) -> "Values":
        """Return the elements, or those under one key or index."""
        return Values([inner for value in self.values for inner in _elements(value, step)])


Extent = Sizes | Values


def check_cost(node: Node, result: object) -> None:
    """Refuse an evaluation that would take too many steps.

    Raises:
        ExpressionError: with the bound.
    """
    _Bill().charge(node, {"result": Values([result])}, times=1)


@dataclass(kw_only=True)
class _Bill:
    steps: int = 0

    def add(self, steps: int) -> None:
        self.steps += steps
        if self.steps > MAX_STEPS:
            raise ExpressionError(f"evaluating it over this result would take more than {MAX_STEPS} steps")

    def charge(self, node: Node, scope: Mapping[str, Extent], *, times: int) -> Extent:  # noqa: PLR0911 by kind
        """Add the cost of evaluating a node that many times; return how large its value may be."""
        self.add(times * (1 + (_GUARD if guarded(node, in_sum=False) else 0)))
        match node:
            case Literal(value=value):
                return Values([value])
            case Name(name=name):
                return scope[name]
            case Select(of=of, field=field):
                return self.picked(self.charge(of, scope, times=times).inner(field), times=times)
            case Index(of=of, key=key):
                self.charge(key, scope, times=times)
                step = key.value if isinstance(key, Literal) else None
                return self.picked(self.charge(of, scope, times=times).inner(step), times=times)
            case Macro():
                return self.loop(node, scope, times=times)
            case Call(function=function):
                args = [self.charge(arg, scope, times=times) for arg in node.args]
                self.add(times * _call_steps(node, args))
                return Sizes(chars=args[0].chars + 32) if function == "string" else Sizes()
            case Binary(operator=operator, left=left, right=right):
                sides = self.charge(left, scope, times=times), self.charge(right, scope, times=times)
                self.add(times * _binary_steps(operator, *sides))
                return _joined(sides) if operator == "+" else Sizes()
            case ListOf(items=items) | MapOf(items=items):
                inside = _joined([self.charge(item, scope, times=times) for item in items])
                self.add(times * _COPY * inside.weight)
                return Sizes(items=max(len(items), inside.items), weight=1 + inside.weight, chars=inside.chars)
            case Choice() | Unary():
                return _joined([self.charge(child, scope, times=times) for child in children(node)])

    def picked(self, extent: Extent, *, times: int) -> Extent:
        """Taking something out of a value may copy it, with all that is in it."""
        self.add(times * _COPY * extent.weight)
        return extent

    def loop(self, node: Macro, scope: Mapping[str, Extent], *, times: int) -> Sizes:
        over = self.charge(node.over, scope, times=times)
        rounds = max(over.items, 1)  # an empty loop costs its analysis
        self.add(times * rounds * _ROUND)
        inner = {**scope, node.variable: _loop_variable(over)}
        bodies = _joined([self.charge(body, inner, times=times * rounds) for body in node.bodies])
        element = inner[node.variable].weight + bodies.weight
        if node.function in {"map", "filter"}:
            self.add(times * element * rounds * rounds // 2)
        chars = max(inner[node.variable].chars, bodies.chars)
        return Sizes(items=max(rounds, bodies.items), weight=rounds * element, chars=chars)


def _loop_variable(over: Extent) -> Extent:
    """A loop over a list binds its elements, one over a map binds its keys."""
    if isinstance(over, Sizes):
        return over
    keys = [key for value in over.values if isinstance(value, dict) for key in value]
    return Values([*over.inner().values, *keys])


def _elements(value: object, step: object) -> Sequence[object]:
    match value, step:
        case dict(), str():
            return [value[step]] if step in value else []
        case dict(), _:
            return list(value.values())
        case list(), int() if 0 <= step < len(value):
            return [value[step]]
        case list(), _:
            return value
        case _:
            return ()


def _weight(value: object) -> int:
    match value:
        case str():
            return 1 + len(value) // _CHARS
        case list():
            return 1 + sum(map(_weight, value))
        case dict():
            return 1 + sum(_weight(key) + _weight(inner) for key, inner in value.items())
        case _:
            return 1


def _joined(parts: Sequence[Extent]) -> Sizes:
    return Sizes(
        items=sum(part.items for part in parts),
        weight=sum(part.weight for part in parts),
        chars=sum(part.chars for part in parts),
    )


def _binary_steps(operator: str, left: Extent, right: Extent) -> int:
    match operator:
        case "==" | "!=" | "<" | "<=" | ">" | ">=":
            return min(left.weight, right.weight)  # a comparison ends where the shorter side does
        case "in":
            return right.items * min(left.weight, right.weight)
        case "+":
            return _CONCATENATE * (left.weight + right.weight)
        case _:
            return 0


def _call_steps(node: Call, args: Sequence[Extent]) -> int:
    chars = sum(arg.chars for arg in args)
    match node.function, node.args[-1]:
        case "matches", Literal(value=str() as pattern):
            return len(pattern) * (_PATTERN + args[0].chars // _CHARS)
        case _:
            return 1 + chars // _CHARS
