"""What the demo tells: the harm, words that a stranger understands, and a build that takes one line of it."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from demo import unprotected
from demo.client import Outcome
from demo.told import words
from demo.told.harm import WRONG, Harm, answers_by
from demo.told.screen import Screen
from lastgood.api.names import OPT_IN_LABEL, Reason
from lastgood.api.names import Outcome as Word

SERVER = (Path(unprotected.__file__).parent / "manifests" / "server.yaml").read_text()
OUTCOMES = (
    Outcome(at=1.0, seconds=0.1, ok=True, images=8, right=8, version="2"),
    Outcome(at=2.0, seconds=0.1, ok=True, images=8, right=5, version="3"),
    Outcome(at=3.0, seconds=5.0, ok=False, error="OSError"),
)


def screen(*, terminal: bool) -> Screen:
    made = Screen()
    made.console = Console(file=io.StringIO(), force_terminal=terminal, width=160, highlight=False)
    return made


def printed(made: Screen) -> str:
    file = made.console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_wrong_answers_are_the_images_that_were_named_wrong() -> None:
    assert WRONG.count(OUTCOMES) == 3
    assert answers_by("3").count(OUTCOMES) == 8


def test_harm_is_told_for_both_sides_and_the_same_seconds() -> None:
    harm = Harm(what="wrong answers", seconds=14.2, protected=512, unprotected=1051)
    assert harm.sentence() == "wrong answers in 14 s: 512 with lastgood, 1,051 without"


def test_the_server_without_lastgood_is_the_same_but_for_who_names_the_model() -> None:
    def parts(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
        deployment, service = yaml.safe_load_all(text)
        return deployment, service

    (ours, _), (theirs, service) = parts(SERVER), parts(unprotected.manifest(SERVER, "/models/digits/2"))
    assert OPT_IN_LABEL in ours["metadata"]["labels"]
    assert OPT_IN_LABEL not in theirs["metadata"]["labels"]
    (one,), (other,) = (body["spec"]["template"]["spec"].pop("containers") for body in (ours, theirs))
    assert other.pop("env") == [*one.pop("env"), {"name": "MODEL_PATH", "value": "/models/digits/2"}]
    assert one == other
    for body in (ours, theirs):
        body["spec"].pop("selector"), body["spec"]["template"].pop("metadata")
    assert ours["spec"] == theirs["spec"]
    assert service["spec"]["selector"] == {"app": unprotected.NAME}


@pytest.mark.parametrize("word", ["EvidenceFailed", "Unvalidated", "Failed", *map(str, Word), *map(str, Reason)])
def test_every_word_that_may_be_shown_has_a_sentence(word: str) -> None:
    assert len(words.explain(word).split()) >= 3
    assert words.used(f"rb-1 digits-v2 {word} 5s") == {word: words.meanings()[word]}


@pytest.mark.parametrize("terminal", [False, True], ids=["a file", "a terminal"])
def test_a_build_of_many_steps_leaves_one_line(terminal: bool) -> None:  # noqa: FBT001  a parameter of pytest
    shown = screen(terminal=terminal)
    with shown.working("building", "the stage is set") as say:
        for number in range(30):
            say(f"step {number}")
    left = re.sub(r"[^\n]*\n[^\n]*\x1b\[1A\x1b\[2K", "", printed(shown))  # up, and erased
    assert [line for line in left.split("\n") if "the stage is set" in line or "step" in line] == [left.rstrip("\n")]
    if not terminal:
        assert printed(shown) == "  the stage is set (0 s)\n"


def test_a_build_that_stops_says_where() -> None:
    shown = screen(terminal=False)

    def build() -> None:
        with shown.working("building", "done") as say:
            say("fetching wheels")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        build()
    assert printed(shown) == "  building: it stopped at: fetching wheels\n"
