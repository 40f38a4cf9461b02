"""From the text of an expression to its tree, with every bound that does not depend on the result.

The grammar is that of the CEL specification (Syntax), without messages, bytes, unsigned integers and triple
quotes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from lastgood.signals.errors import ExpressionError
from lastgood.signals.language import nodes
from lastgood.signals.language.nodes import ROOT, Node, children, path_of
from lastgood.signals.language.patterns import MAX_PATTERN, compiled
from lastgood.signals.language.tokens import Token, string_value, tokens

_MAX_LENGTH = 1024
_MAX_BRACKETS = 32
_MAX_LOOPS = 2
MAX_DEPTH = 64  # of the tree; the evaluator's own parser gives up at about 100

_MACROS = frozenset({"all", "exists", "exists_one", "map", "filter"})
FUNCTIONS = {"double": 1, "duration": 1, "has": 1, "int": 1, "size": 1, "string": 1, "timestamp": 1}
METHODS = {"contains": 2, "endsWith": 2, "matches": 2, "size": 1, "startsWith": 2}
_BINDS = {"||": 1, "&&": 2, "==": 3, "!=": 3, "<": 3, "<=": 3, ">": 3, ">=": 3, "in": 3}
_BINDS |= {"+": 4, "-": 4, "*": 5, "/": 5, "%": 5}
_WORDS = {"true": True, "false": False, "null": None}
_INT64 = 2**63


def parse(text: str) -> Node:
    """Return the tree of an expression.

    Raises:
        ExpressionError: where and what is wrong, or which bound the expression exceeds.
    """
    if len(text) > _MAX_LENGTH:
        raise ExpressionError(f"the expression has {len(text)} characters, more than {_MAX_LENGTH}")
    words = list(tokens(text))
    if words[0].kind == "end":
        raise ExpressionError("the expression is empty")
    return _Parser(words=words).whole()


@dataclass(kw_only=True)
class _Parser:
    """A recursive descent over the words; what it keeps is where it is and what surrounds that place."""

    words: list[Token]
    at: int = 0
    brackets: int = 0
    variables: list[str] = field(default_factory=list)
    depths: dict[int, int] = field(default_factory=dict)  # by id(node), each of which is in `kept`
    kept: list[Node] = field(default_factory=list)

    def whole(self) -> Node:
        node = self.expression()
        if self.here.kind != "end":
            raise self.error("is not expected here")
        return node

    @property
    def here(self) -> Token:
        return self.words[self.at]

    def error(self, what: str, token: Token | None = None) -> ExpressionError:
        place = token or self.here
        shown = place.text if place.kind == "end" else repr(place.text[:40])
        return ExpressionError(f"column {place.at + 1}: {shown} {what}")

    def next_is(self, *texts: str) -> bool:
        return self.here.kind in {"sign", "name"} and self.here.text in texts

    def take(self) -> Token:
        token = self.here
        self.at += 1
        return token

    def accept(self, text: str) -> bool:
        if not self.next_is(text):
            return False
        self.at += 1
        return True

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise self.error(f"stands where {text!r} is expected")

    def made(self, node: Node) -> Node:
        depth = 1 + max((self.depths.get(id(child), 0) for child in children(node)), default=0)
        if depth > MAX_DEPTH:
            raise self.error(f"is nested too deeply or in too long a chain: at most {MAX_DEPTH} levels")
        self.depths[id(node)] = depth
        self.kept.append(node)
        return node

    def expression(self) -> Node:
        self.brackets += 1  # each way into here from within goes through a bracket or a `?`
        if self.brackets > _MAX_BRACKETS + 1:
            raise self.error(f"is inside too many brackets: at most {_MAX_BRACKETS}")
        node = self.choice(self.binary(1))
        self.brackets -= 1
        return node

    def choice(self, condition: Node) -> Node:
        if not self.accept("?"):
            return condition
        yes = self.binary(1)
        self.expect(":")
        return self.made(nodes.Choice(condition=condition, yes=yes, no=self.expression()))

    def binary(self, weakest: int) -> Node:
        left = self.unary()
        while self.next_is(*_BINDS) and _BINDS[self.here.text] >= weakest:
            operator = self.take()
            right = self.binary(_BINDS[operator.text] + 1)
            self.refuse_int_arithmetic(operator, left, right)
            left = self.made(nodes.Binary(operator=operator.text, left=left, right=right))
        return left

    def refuse_int_arithmetic(self, operator: Token, left: Node, right: Node) -> None:
        """`result.a * 100` has no answer in CEL, ever: say so now, not at each evaluation."""
        for one, other in ((left, right), (right, left)):
            if operator.text in nodes.ARITHMETIC and _is_int(one) and path_of(other) is not None:
                hint = "JSON numbers are doubles, so write 1.0 and not 1"
                raise self.error(f"has a field of {ROOT} on one side and an integer on the other: {hint}", operator)

    def unary(self) -> Node:
        if not self.next_is("!", "-"):
            return self.member()
        operators = []
        while self.next_is("!", "-"):
            operators.append(self.take().text)
        node = self.smallest(operators) or self.member()
        for operator in reversed(operators):
            node = self.made(nodes.Unary(operator=operator, of=node))
        return node

    def smallest(self, operators: list[str]) -> Node | None:
        """The smallest integer has no positive one: its minus belongs to the literal."""
        if operators[-1] != "-" or self.here.kind != "int" or int(self.here.text, _base(self.here.text)) != _INT64:
            return None
        self.take()
        operators.pop()
        return self.made(nodes.Literal(value=-_INT64))

    def member(self) -> Node:
        node = self.primary()
        while True:
            if self.accept("."):
                node = self.dotted(node)
            elif self.accept("["):
                key = self.expression()
                self.expect("]")
                node = self.made(nodes.Index(of=node, key=key))
            else:
                return node

    def dotted(self, of: Node) -> Node:
        name = self.own_name()
        if not self.accept("("):
            return self.made(nodes.Select(of=of, field=name.text))
        if name.text in _MACROS:
            return self.macro(name, of)
        return self.call(name, (of, *self.until(")")), METHODS)

    def name(self) -> Token:
        if self.here.kind != "name":
            raise self.error("stands where a name is expected")
        return self.take()

    def own_name(self) -> Token:
        """Return a name for a field or a variable: a word of the language is none."""
        if self.here.text in _WORDS or self.here.text == "in":
            raise self.error(f"is a word of the language; as a field it is written ['{self.here.text}']")
        return self.name()

    def call(self, name: Token, args: tuple[Node, ...], known: dict[str, int]) -> Node:
        method = known is METHODS
        if name.text not in known:
            allowed = sorted(set(known) | (_MACROS if method else set()))
            raise self.error(f"is not a known {'method' if method else 'function'}: {', '.join(allowed)}", name)
        if len(args) != known[name.text]:
            raise self.error(f"takes {known[name.text] - method} argument(s)", name)
        if name.text == "has" and not isinstance(args[0], nodes.Select):
            raise self.error("takes a field, as in has(result.accuracy)", name)
        if name.text == "matches":
            self.check_pattern(name, args[1])
        return self.made(nodes.Call(function=name.text, args=args))

    def check_pattern(self, name: Token, pattern: Node) -> None:
        """A pattern is compiled for each evaluation: a short literal without counts has a bounded cost."""
        if not (isinstance(pattern, nodes.Literal) and isinstance(pattern.value, str)):
            raise self.error("takes a literal pattern only", name)
        if len(pattern.value) > MAX_PATTERN or "{" in pattern.value or "(?" in pattern.value:
            bounds = f"at most {MAX_PATTERN} characters, without {{counts}} and (?flags)"
            raise self.error(f"takes a pattern of {bounds}", name)
        try:
            compiled(pattern.value)
        except ExpressionError as error:
            raise self.error(f"cannot be used: {error}", name) from None

    def macro(self, name: Token, over: Node) -> Node:
        variable = self.own_name()
        if variable.text == ROOT or variable.text in self.variables:
            raise self.error("has this meaning already: choose another name for the variable", variable)
        self.variables.append(variable.text)
        if len(self.variables) > _MAX_LOOPS:
            raise self.error(f"is nested too deeply: at most {_MAX_LOOPS} of {', '.join(sorted(_MACROS))}", name)
        self.expect(",")
        bodies = self.until(")")
        self.variables.pop()
        if len(bodies) != 1 and not (name.text == "map" and len(bodies) == 2):  # noqa: PLR2004 map(x, filter, value)
            raise self.error("takes a variable and an expression", name)
        return self.made(nodes.Macro(function=name.text, over=over, variable=variable.text, bodies=bodies))

    def until(self, closing: str, item: Callable[[], None] | None = None) -> tuple[Node, ...]:
        found: list[Node] = []
        while not self.next_is(closing):
            found.append(self.expression())
            if item is not None:
                item()
                found.append(self.expression())
            if not self.accept(","):
                break
        self.expect(closing)
        return tuple(found)

    def primary(self) -> Node:
        if self.here.kind in {"int", "float", "string"}:
            return self.made(nodes.Literal(value=self.literal(self.take())))
        if self.accept("("):
            node = self.expression()
            self.expect(")")
            return node
        if self.accept("["):
            return self.made(nodes.ListOf(items=self.until("]")))
        if self.accept("{"):
            return self.made(nodes.MapOf(items=self.until("}", lambda: self.expect(":"))))
        return self.named(self.name())

    def named(self, name: Token) -> Node:
        if name.text in _WORDS:
            return self.made(nodes.Literal(value=_WORDS[name.text]))
        if self.here.kind == "string" and name.at + len(name.text) == self.here.at:
            raise self.error("is a kind of literal that is not supported", name)
        if self.accept("("):
            return self.call(name, self.until(")"), FUNCTIONS)
        if name.text != ROOT and name.text not in self.variables:
            raise self.error(f"is unknown: an expression sees {ROOT!r} only", name)
        return self.made(nodes.Name(name=name.text))

    def literal(self, token: Token) -> str | int | float:
        if token.kind == "string":
            return string_value(token)
        if self.here.kind in {"name", "int", "float"} and self.here.at == token.at + len(token.text):
            raise self.error("is not a number", token)
        value: int | float = float(token.text) if token.kind == "float" else int(token.text, _base(token.text))
        if not math.isfinite(value) or (isinstance(value, int) and value >= _INT64):
            raise self.error("is too large a number", token)
        return value


def _base(text: str) -> int:
    return 16 if text[:2] in {"0x", "0X"} else 10


def _is_int(node: Node) -> bool:
    return isinstance(node, nodes.Literal) and isinstance(node.value, int) and not isinstance(node.value, bool)
