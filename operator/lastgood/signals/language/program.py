"""From the tree of an expression to what evaluates it: one small function for each node, which spends a step.

An error is a value that nobody can use, except where CEL says so: a side of `&&` and `||`, and an element of `all` and
`exists`, without an answer does not matter where another one decides. A calculation without a finite result always
matters, and so does one of too many steps: see `NotFiniteError` and `TooManyStepsError`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, assert_never

from lastgood.signals.errors import ExpressionError
from lastgood.signals.language import nodes
from lastgood.signals.language.functions import FUNCTIONS, Function, text_of
from lastgood.signals.language.meter import MAX_STEPS, Meter, TooManyStepsError, looking
from lastgood.signals.language.operators import ON_NUMBERS, ON_VALUES, NotFiniteError, boolean, negated, wrong_types
from lastgood.signals.language.patterns import Pattern, compiled, compiling, matches

# Steps besides those of the nodes.
_LOOP = 24  # for a loop
_ROUND = 2  # for each element of a loop
_MADE = 6  # for a list or a map that is made
_ENTRY = 4  # for each entry of a map that is made
_FAILED = 20  # for an error that may not matter
_DEEPEST = 64  # the same, for the nodes that it comes through: at most so many


class Run(Meter):
    """One evaluation.

    Attributes:
        names: what `result` and the variables of the loops that are under way stand for.
        patterns: those that are compiled by now.
    """

    __slots__ = ("names", "patterns")

    def __init__(self, result: object) -> None:
        super().__init__()
        self.names = {nodes.ROOT: result}
        self.patterns: dict[str, Pattern] = {}

    def pattern(self, text: str) -> Pattern:
        """Return a pattern, compiled at most once."""
        if text not in self.patterns:
            self.spend(compiling(text))
            self.patterns[text] = compiled(text)
        return self.patterns[text]


Code = Callable[[Run], object]


class MissingError(ExpressionError):
    """A field or an element that is not there; which one is not said, for a key may have been read as well."""

    def __init__(self) -> None:
        super().__init__("the result has no field or element of that name")


def program(node: nodes.Node) -> Code:
    """Return the function that evaluates a tree, and spends a step for each visit of each node."""
    code = _code(node)

    def visit(run: Run) -> object:
        run.steps += 1  # `spend(1)`, without the call: it is a fifth of the time that most nodes take
        if run.steps > MAX_STEPS:
            raise TooManyStepsError
        return code(run)

    return visit


def _code(node: nodes.Node) -> Code:  # noqa: C901, PLR0911, PLR0912 one case for each kind of node
    match node:
        case nodes.Literal(value=value):
            return lambda _: value
        case nodes.Name(name=name):
            return lambda run: run.names[name]
        case nodes.Select(of=of, field=field):
            return _select(program(of), field)
        case nodes.Index(of=of, key=key):
            return _index(program(of), program(key))
        case nodes.Call(function="has", args=(nodes.Select(of=of, field=field),)):
            return _has(program(of), field)
        case nodes.Call(function="matches", args=(of, nodes.Literal(value=str() as pattern))):
            return _matches(program(of), pattern)
        case nodes.Call(function=function, args=args):
            return _call(FUNCTIONS[function], [program(arg) for arg in args])
        case nodes.Macro():
            return _macro(node)
        case nodes.ListOf(items=items):
            return _list([program(item) for item in items])
        case nodes.MapOf(items=items):
            return _map([program(item) for item in items])
        case nodes.Unary(operator="-", of=of):
            return _unary(negated, program(of))
        case nodes.Unary(of=of):
            return _unary(lambda value: not boolean(value), program(of))
        case nodes.Binary(operator="&&" | "||" as operator, left=left, right=right):
            return _logic((program(left), program(right)), deciding=operator == "||")
        case nodes.Binary(operator=operator, left=left, right=right) if operator in ON_VALUES:
            return _metered(ON_VALUES[operator], program(left), program(right))
        case nodes.Binary(operator=operator, left=left, right=right):
            return _binary(ON_NUMBERS[operator], program(left), program(right))
        case nodes.Choice(condition=condition, yes=yes, no=no):
            return _choice(program(condition), program(yes), program(no))
        case _:
            assert_never(node)


def _select(of: Code, field: str) -> Code:
    def select(run: Run) -> object:
        value = of(run)
        if type(value) is not dict:
            raise wrong_types()
        try:
            return value[field]
        except KeyError:
            raise MissingError from None

    return select


def _has(of: Code, field: str) -> Code:
    def has(run: Run) -> object:
        value = of(run)
        if not isinstance(value, dict):
            raise wrong_types()
        return field in value

    return has


def _index(of: Code, key: Code) -> Code:
    def index(run: Run) -> object:
        value, at = of(run), key(run)
        if isinstance(value, list) and type(at) is int:
            if not 0 <= at < len(value):
                raise ExpressionError("index out of bounds")
            return value[at]
        if not isinstance(value, dict) or not isinstance(at, str):
            raise wrong_types()
        run.spend(looking(at))
        if at not in value:
            raise MissingError
        return value[at]

    return index


def _matches(of: Code, pattern: str) -> Code:
    return lambda run: matches(text_of(of(run)), run.pattern(pattern), run)


def _call(function: Function, args: Sequence[Code]) -> Code:
    def call(run: Run) -> object:
        values = [arg(run) for arg in args]
        run.spend(function.price(*values))
        return function.work(*values)

    return call


def _list(items: Sequence[Code]) -> Code:
    def build(run: Run) -> object:
        run.spend(_MADE)
        return [item(run) for item in items]

    return build


def _map(items: Sequence[Code]) -> Code:
    def build(run: Run) -> object:
        run.spend(_MADE)
        built: dict[str, object] = {}
        for key, value in zip(items[::2], items[1::2], strict=True):
            name = key(run)
            run.spend(_ENTRY + looking(name))
            if not isinstance(name, str) or name in built:
                raise ExpressionError("the keys of a map have to be strings, each once")
            built[name] = value(run)
        return built

    return build


def _unary(work: Callable[[object], object], of: Code) -> Code:
    return lambda run: work(of(run))


def _binary(work: Callable[[object, object], object], left: Code, right: Code) -> Code:
    return lambda run: work(left(run), right(run))


def _metered(work: Callable[[object, object, Meter], object], left: Code, right: Code) -> Code:
    return lambda run: work(left(run), right(run), run)


def _choice(condition: Code, yes: Code, no: Code) -> Code:
    return lambda run: yes(run) if boolean(condition(run)) else no(run)


def _logic(sides: Sequence[Code], *, deciding: bool) -> Code:
    return lambda run: _settled(run, sides, deciding=deciding)


def _settled(run: Run, sides: Iterable[Code], *, deciding: bool) -> bool:
    """Return the value that decides as soon as one has it; where none has, an error of any is the answer."""
    failed: ExpressionError | None = None
    for side in sides:
        before = run.steps
        try:
            if boolean(side(run)) is deciding:
                return deciding
        except NotFiniteError:
            raise
        except ExpressionError as error:
            # After one of too many steps this raises again, as does the visit of any node.
            run.spend(_FAILED + min(run.steps - before, _DEEPEST))
            failed = failed or error
    if failed is not None:
        raise failed
    return not deciding


def _macro(node: nodes.Macro) -> Code:
    over, variable, work = program(node.over), node.variable, _LOOPS[node.function]
    bodies = [program(body) for body in node.bodies]

    def rounds(run: Run) -> Iterator[object]:
        elements = over(run)
        if not isinstance(elements, list | dict):
            raise wrong_types()
        run.spend(_LOOP)
        for element in elements:  # of a map, its keys
            run.spend(_ROUND)
            run.names[variable] = element  # no loop around this one has a variable of that name
            yield element

    return lambda run: work(run, rounds(run), *bodies)


def _all(run: Run, rounds: Iterable[object], body: Code) -> object:
    return _settled(run, (body for _ in rounds), deciding=False)


def _exists(run: Run, rounds: Iterable[object], body: Code) -> object:
    return _settled(run, (body for _ in rounds), deciding=True)


def _exists_one(run: Run, rounds: Iterable[object], body: Code) -> object:
    return sum([boolean(body(run)) for _ in rounds]) == 1


def _filtered(run: Run, rounds: Iterable[object], body: Code) -> object:
    return [element for element in rounds if boolean(body(run))]


def _mapped(run: Run, rounds: Iterable[object], *bodies: Code) -> object:
    *conditions, value = bodies
    return [value(run) for _ in rounds if all(boolean(condition(run)) for condition in conditions)]


_LOOPS: dict[str, Callable[..., Any]] = {
    "all": _all,
    "exists": _exists,
    "exists_one": _exists_one,
    "filter": _filtered,
    "map": _mapped,
}
