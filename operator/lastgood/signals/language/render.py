"""From the tree back to text: the only text that the evaluator sees.

Every arithmetic result and conversion that could be Infinity or NaN goes through a function of ours.
"""

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
)

GUARD = "lastgood_seen"
_SUMS = frozenset({"+", "-", "*"})


def render(node: Node, *, in_sum: bool = False) -> str:  # noqa: C901, PLR0911 one case for each kind of node
    """Return the text of a tree. `in_sum`: the node is an operand of `+`, `-` or `*`."""
    match node:
        case Literal(value=value):
            return _literal(value)
        case Name(name=name):
            return name
        case Select(of=of, field=field):
            return f"{_operand(of)}.{field}"
        case Index(of=of, key=key):
            return f"{_operand(of)}[{render(key)}]"
        case Call():
            return _call(node)
        case Macro(function=function, over=over, variable=variable, bodies=bodies):
            return f"{_operand(over)}.{function}({variable}, {', '.join(map(render, bodies))})"
        case ListOf(items=items):
            return f"[{', '.join(map(render, items))}]"
        case MapOf(items=items):
            pairs = zip(items[::2], items[1::2], strict=True)
            return "{" + ", ".join(f"{render(key)}: {render(value)}" for key, value in pairs) + "}"
        case Unary(operator=operator, of=of):
            return f"{operator}{_operand(of)}"
        case Binary():
            return _binary(node, in_sum=in_sum)
        case Choice(condition=condition, yes=yes, no=no):
            return f"{_operand(condition)} ? {_operand(yes)} : {_operand(no)}"


def guarded(node: Node, *, in_sum: bool) -> bool:
    """Tell whether the value of this operation goes through the guard.

    Infinity stays in a chain of `+`, `-` and `*` (as itself or as NaN), so the end of the chain is enough;
    a division can hide it (1/Infinity is 0), so each quotient is looked at, and each operand that is a chain.
    """
    match node:
        case Binary(operator="/"):
            return True
        case Binary(operator=operator):
            return operator in _SUMS and not in_sum
        case Call(function=function):
            return function == "double"
        case _:
            return False


def _binary(node: Binary, *, in_sum: bool) -> str:
    inner = node.operator in _SUMS
    left, right = (_operand(side, in_sum=inner) for side in (node.left, node.right))
    text = f"{left} {node.operator} {right}"
    return f"{GUARD}({text})" if guarded(node, in_sum=in_sum) else text


def _operand(node: Node, *, in_sum: bool = False) -> str:
    text = render(node, in_sum=in_sum)
    bare = isinstance(node, Unary | Choice) or (isinstance(node, Binary) and not guarded(node, in_sum=in_sum))
    return f"({text})" if bare else text


def _call(node: Call) -> str:
    if node.method:
        receiver, *args = node.args
        return f"{_operand(receiver)}.{node.function}({', '.join(map(render, args))})"
    text = f"{node.function}({', '.join(map(render, node.args))})"
    return f"{GUARD}({text})" if guarded(node, in_sum=False) else text


def _literal(value: str | float | bool | None) -> str:  # noqa: FBT001 a literal of the language
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{"".join(map(_character, value))}"'
        case _:
            return repr(value)


def _character(char: str) -> str:
    if char.isascii() and char.isprintable() and char not in '"\\':
        return char
    return f"\\U{ord(char):08x}"
