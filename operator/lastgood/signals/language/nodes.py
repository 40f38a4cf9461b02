"""The tree of an expression."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NewType

Path = NewType("Path", tuple[str | int, ...])

ROOT = "result"
ARITHMETIC = frozenset({"+", "-", "*", "/", "%"})


@dataclass(frozen=True, kw_only=True)
class Literal:
    """A number, string, boolean or null."""

    value: str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class Name:
    """`result`, or the variable of an enclosing macro."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Select:
    """`of.field`."""

    of: "Node"
    field: str


@dataclass(frozen=True, kw_only=True)
class Index:
    """`of[key]`."""

    of: "Node"
    key: "Node"


@dataclass(frozen=True, kw_only=True)
class Call:
    """`function(args)`; the receiver of a method is the first argument."""

    function: str
    args: tuple["Node", ...]


@dataclass(frozen=True, kw_only=True)
class Macro:
    """`over.function(variable, bodies)`: a loop."""

    function: str
    over: "Node"
    variable: str
    bodies: tuple["Node", ...]


@dataclass(frozen=True, kw_only=True)
class ListOf:
    """`[items]`."""

    items: tuple["Node", ...]


@dataclass(frozen=True, kw_only=True)
class MapOf:
    """`{key: value}`, its keys and values in turn."""

    items: tuple["Node", ...]


@dataclass(frozen=True, kw_only=True)
class Unary:
    """`!of` or `-of`."""

    operator: str
    of: "Node"


@dataclass(frozen=True, kw_only=True)
class Binary:
    """`left operator right`."""

    operator: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """`condition ? yes : no`."""

    condition: "Node"
    yes: "Node"
    no: "Node"


Node = Literal | Name | Select | Index | Call | Macro | ListOf | MapOf | Unary | Binary | Choice


def children(node: Node) -> Sequence[Node]:  # noqa: PLR0911 one return for each kind of node
    """Return the nodes directly below."""
    match node:
        case Literal() | Name():
            return ()
        case Select(of=of) | Unary(of=of):
            return (of,)
        case Index(of=of, key=key):
            return (of, key)
        case Call(args=args):
            return args
        case Macro(over=over, bodies=bodies):
            return (over, *bodies)
        case ListOf(items=items) | MapOf(items=items):
            return items
        case Binary(left=left, right=right):
            return (left, right)
        case Choice(condition=condition, yes=yes, no=no):
            return (condition, yes, no)


def path_of(node: Node) -> Path | None:
    """Return the steps from `result` to the field that the node names, or None if it is no such field."""
    match node:
        case Name(name=name) if name == ROOT:
            return Path(())
        case Select(of=of, field=str() | int() as step) | Index(of=of, key=Literal(value=str() | int() as step)):
            above = path_of(of)
            return None if above is None or isinstance(step, bool) else Path((*above, step))
        case _:
            return None


def paths_read(node: Node) -> list[Path]:
    """Return the fields of `result` that the expression reads, in the order of the text, each once."""
    path = path_of(node)
    found = [path] if path is not None else [inner for child in children(node) for inner in paths_read(child)]
    return list(dict.fromkeys(found))
