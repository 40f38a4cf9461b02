"""The terminal: a timeline that grows, and below it what the client sees at this moment."""

from __future__ import annotations

import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from demo.traffic import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from demo.story import Moment, Scene
    from demo.traffic import Traffic

GLANCE = 2.0  # seconds that the line at the bottom looks back
WIDE = 160  # characters a line where there is no terminal to ask
GOOD, BAD, STRONG, QUIET = "green", "bold red", "bold", "dim"
STYLES = {
    "v3 serves": BAD,
    "tampered": BAD,
    "no metrics": BAD,
    "NOT AS TOLD": BAD,
    "drained": STRONG,
    "loaded": GOOD,
    "asked": STRONG,
    "annotated": STRONG,
    "fired": "bold yellow",
    "switched": STRONG,
    "available": "bold green",
    "accepted": "bold yellow",
    "outcome": GOOD,
    "re-applied": GOOD,
    "refused": GOOD,
    "quarantined": GOOD,
}


class Screen:
    """Where the story is told: in colour on a terminal, as plain lines elsewhere."""

    def __init__(self) -> None:
        """Begin to count the time."""
        self.console = Console(highlight=False, soft_wrap=True)
        if not self.console.is_terminal:
            self.console.width = WIDE
        self.began = time.time()
        self.scene_began = 0.0

    def title(self, text: str) -> None:
        """Open a part of the story."""
        self.console.print(f"\n[bold]{escape(text)}[/]")

    def line(self, text: str) -> None:
        """Tell something that has no time."""
        self.console.print(f"  {escape(text)}")

    def step(self, text: str) -> None:
        """Tell of a step on the way there."""
        self.console.print(f"  [dim]{self._clock():>6}[/]  {escape(text)}")

    @contextmanager
    def working(self, what: str, done: str) -> Iterator[Callable[[str], None]]:
        """Show what goes on in one line: it is overwritten on a terminal, and written once, at the end, elsewhere.

        Gives what takes a sentence now and then. Where the work fails, the last sentence stays.
        """
        began, last = time.time(), what
        status = self.console.status(escape(what))

        def say(sentence: str) -> None:
            nonlocal last
            last = sentence
            status.update(f"{escape(what)} [dim]{time.time() - began:.0f} s  {escape(sentence)}[/]")

        with status if self.console.is_terminal else nullcontext():
            try:
                yield say
            except BaseException:
                self.console.print(f"  {escape(what)}: [{BAD}]it stopped at:[/] {escape(last)}")
                raise
        self.console.print(f"  {escape(done)} [dim]({time.time() - began:.0f} s)[/]")

    def scene(self, number: int, story: str) -> None:
        """Open a scene; its moments are timed from here."""
        self.scene_began = time.time()
        self.title(f"Scene {number}. {story}")

    def moment(self, moment: Moment) -> None:
        """Put a moment on the timeline, in seconds since the scene began."""
        style = STYLES.get(moment.what, "cyan")
        since = f"+{max(0.0, moment.at - self.scene_began):.2f}s"
        self.console.print(f"  [dim]{since:>8}[/]  [{style}]{moment.what:<11}[/]  {escape(moment.detail)}")

    def result(self, scene: Scene) -> None:
        """Close a scene with the client's view."""
        tally = scene.tally
        style = GOOD if not scene.problems else BAD
        word = "as told" if not scene.problems else "NOT as told: " + "; ".join(scene.problems)
        self.console.print(
            f"  [{style}]=> {escape(word)}[/]: {tally.requests} requests, {tally.failed} failed; "
            f"[{STRONG}]{escape(scene.harm.sentence())}[/]"
        )

    @contextmanager
    def watching(self, protected: Traffic, unprotected: Traffic) -> Iterator[None]:
        """Keep two lines at the bottom that show what the client sees; only a terminal has a bottom."""
        if not self.console.is_terminal:
            yield
            return
        with Live(
            console=self.console,
            refresh_per_second=4,
            get_renderable=lambda: Text("\n").join(
                (
                    glance("with lastgood", protected, time.time()),
                    glance("without", unprotected, time.time()),
                )
            ),
            transient=True,
        ):
            yield

    def _clock(self) -> str:
        return f"{time.time() - self.began:.1f}s"


def glance(side: str, traffic: Traffic, now: float) -> Text:
    """Return the client's view of one side in the last two seconds, in one line."""
    outcomes = traffic.read()
    recent = Tally.of([outcome for outcome in outcomes if outcome.at > now - GLANCE])
    failed = sum(not outcome.ok for outcome in outcomes)
    accuracy = recent.accuracy
    return Text.assemble(
        (f"  {side:<13}  ", QUIET),
        ("v" + "+v".join(recent.versions) if recent.versions else "no answer", STRONG),
        ("   accuracy ", QUIET),
        bar(accuracy),
        (f"   {recent.requests / GLANCE:.0f} requests/s", QUIET),
        (f"   {failed} failed so far", GOOD if not failed else BAD),
    )


def bar(accuracy: float | None) -> tuple[str, str]:
    """Return an accuracy as a bar and a number."""
    if accuracy is None:
        return "unknown", QUIET
    full = round(accuracy * 20)
    return f"{'█' * full}{'░' * (20 - full)} {accuracy:.2f}", GOOD if accuracy > 0.8 else BAD
