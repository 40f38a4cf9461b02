"""What a binding may write at all, and the owner's word on it: pure texts, so that the door and each decision agree.

Whoever may change a ModelDeployment chooses the bindings, and the operator writes them with its own rights. So a
binding moves what serves and nothing else, and only where the owner of the workload has said so, value and all.
"""

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Final

from lastgood.api.names import BINDABLE, OPT_IN_LABEL

PLACEHOLDER: Final = re.compile(r"\$\((path|uri|image|digest|version|name)\)")
IMAGE: Final = "$(image)"
_MAX_VALUE: Final = 4096
"""What a variable or annotation may hold once it is filled in; as long as the longest path of Linux."""

_MAX_WORD: Final = 64 * 1024
_MAX_COMMAND: Final = 8192  # a condition holds four times as much
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")
_CONTAINER: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_ANNOTATION: Final = re.compile(
    r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)

_WORDS: Final = {
    "version": (re.compile(r"(?!-)[\w.+:@=-]+"), ". _ + : @ = -"),
    "path": (re.compile(r"(?!-)[\w.+:@=/-]+"), ". _ + : @ = - /"),
    "uri": (re.compile(r"(?!-)[\w.+:@=/?&%~\[\]-]+"), ". _ + : @ = - / ? & % ~ [ ]"),
}


def variable_mistake(name: str) -> str:
    """Return what is wrong with the name of a variable, or nothing."""
    return "" if _VARIABLE.fullmatch(name) else "must be letters, digits and '_', and not begin with a digit"


def container_mistake(name: str) -> str:
    """Return what is wrong with the name of a container, or nothing."""
    return "" if _CONTAINER.fullmatch(name) else "must be the name of a container: lower-case letters, digits and '-'"


def annotation_mistake(name: str) -> str:
    """Return what is wrong with the name of an annotation, or nothing."""
    return "" if _ANNOTATION.fullmatch(name) else "must be a qualified name such as example.com/model"


def template_mistake(value: str) -> str:
    """Return what is wrong with the value of a variable's or annotation's binding, or nothing.

    A constant sets something and moves nothing. A `$` beside the placeholders would have the kubelet put in another
    variable of the pod, also where a placeholder brings the parenthesis.
    """
    if not PLACEHOLDER.search(value):
        return "must contain a placeholder, such as $(path); put constants in the workload's manifest"
    if value.endswith(" "):
        return "must not end with a space"
    literal = PLACEHOLDER.sub("", value)
    if "$" in literal:
        return "must not contain $ except in $(path), $(uri), $(image), $(digest), $(version) and $(name)"
    return text_mistake(literal)


def text_mistake(text: str) -> str:
    """Return what a text may not hold that is written to a pod, or nothing.

    Kubernetes expands `$(NAME)`, and makes `$` of `$$`, in the value of a variable: what was checked is not what runs.
    """
    if "$(" in text or "$$" in text:
        return "must not contain $( or $$, which Kubernetes would expand"
    if not text.isprintable():
        return "must not contain control or invisible characters, or white space other than spaces"
    if ".." in re.split(r"[/\\]", text):
        return "must not contain '..' between slashes: it would leave the verified directory"
    if len(text) > _MAX_VALUE:
        return f"must have at most {_MAX_VALUE} characters"
    return ""


def word_mistake(word: str, text: str) -> str:
    """Return what a placeholder may not stand for, or nothing.

    Whoever may create a ModelSnapshot chooses these texts. Inside a longer value, a blank, a quote, a comma or a sign
    of a shell would begin something else: another argument, option or command. A version is one name: with a slash,
    it would choose a directory that nobody verified.
    """
    rest = text.removeprefix("pvc://").removeprefix("store://") if word == "uri" else text
    kind = word if word == "version" or (word == "uri" and rest == text) else "path"
    allowed, told = _WORDS[kind]
    if allowed.fullmatch(rest):
        return ""
    return f"must contain only letters, digits and {told}, and must not begin with '-'"


def granted(annotations: Mapping[str, str]) -> frozenset[str]:
    """Return what the owner of a workload lets be bound: one line for each, as a binding's `word` has it."""
    text = annotations.get(BINDABLE, "")
    return frozenset(filter(None, map(str.strip, text.splitlines()))) if len(text) <= _MAX_WORD else frozenset()


def opt_in(
    *, namespace: str, workload: str, deployment: str, words: Iterable[str], annotations: Mapping[str, str]
) -> str:
    """Return the one command with which the owner lets a ModelDeployment switch the workload, or what to do without.

    It can be pasted: whatever stands in a binding, the shell takes it for text. What the owner has said of other fields
    before stays said; a line for the same field, with another value, goes. `workload` is as kubectl names it, such as
    `deployment/digits-server`.
    """
    words = list(dict.fromkeys(words))
    fields = {field_of(word) for word in words}
    kept = sorted(line for line in granted(annotations) if field_of(line) not in fields and line.isprintable())
    metadata = {"labels": {OPT_IN_LABEL: deployment}, "annotations": {BINDABLE: "\n".join([*kept, *words])}}
    patch = shlex.quote(json.dumps({"metadata": metadata}, separators=(",", ":"), ensure_ascii=False))
    named = shlex.quote(workload)
    command = f"kubectl patch -n {shlex.quote(namespace)} {named} --type merge -p {patch}"
    if len(command) <= _MAX_COMMAND:
        return f"its owner must run: {command}"
    return (
        f"its owner must set the label {OPT_IN_LABEL}={deployment} and the annotation {BINDABLE}, one line for each of "
        "spec.bindings with its value (the command is too long to show)"
    )


def field_of(line: str) -> str:
    """Return which field of the workload a line of the owner's is about."""
    return line.partition("=")[0].strip()
