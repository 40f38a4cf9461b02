"""The door for signals: the module that docs/extending.md shows, put beside the others, is all that a kind takes."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from lastgood.api.facts.signal import Verdict
from lastgood.api.fields import Fields
from lastgood.api.specs.signals import Source, kinds, read_source
from lastgood.errors import InvalidSpecError
from lastgood.signals import kinds as door
from lastgood.signals.signal import Signal, Tools, of_trigger
from tests.unit.core.builders import PODS, world
from tests.unit.doors import example_behind

FAULT = "example.com/fault"
DECLARED = {"name": "pager", "annotation": {"name": FAULT}}


@pytest.fixture
def added() -> Iterator[None]:
    """The example of the page, as a module of its own."""
    with example_behind(door, "SIGNAL", "annotation", kinds.cache_clear):
        yield


def read(body: Mapping[str, object], *, check: bool = False) -> Source:
    return read_source(Fields(dict(body), "spec.triggers[0]"), check=check)


@pytest.mark.parametrize(("name", "facts"), [("http", (True, True, True)), ("workload", (False, False, False))])
def test_kinds_are_found_by_the_fields_that_declare_them(name: str, facts: tuple[bool, ...]) -> None:
    kind = kinds()[name]
    assert (kind.conditional, kind.for_checks, kind.asks_pods) == facts


@pytest.mark.usefixtures("added")
@pytest.mark.parametrize(("present", "verdict"), [("example.com/other", Verdict.HEALTHY), (FAULT, Verdict.BREACHED)])
async def test_a_module_is_all_that_a_new_kind_takes(present: str, verdict: Verdict) -> None:
    observed = world()
    assert observed.workload is not None
    meta = replace(observed.workload.meta, annotations={present: ""})
    observed = replace(observed, workload=replace(observed.workload, meta=meta))
    source = read(DECLARED)
    assert isinstance(source, Signal)
    trigger = replace(PODS, name="pager", source=source)
    tools = Tools(probe=None, pods=None)  # type: ignore[arg-type]  # it uses neither
    assert (await source.look(of_trigger(trigger, "ml", observed=observed), tools)).verdict is verdict


@pytest.mark.usefixtures("added")
def test_what_is_declared_is_one_kind_that_is_known() -> None:
    with pytest.raises(InvalidSpecError, match=r"must have exactly one of annotation and .*http and .*workload"):
        read({"name": "two", "workload": {}, **DECLARED})
    with pytest.raises(InvalidSpecError, match="must have exactly one of http"):
        read(DECLARED, check=True)


def test_what_no_module_knows_is_refused() -> None:
    with pytest.raises(InvalidSpecError, match=r"must have exactly one of .*http and .*workload"):
        read({"name": "odd", "weather": {}})


def test_kinds_are_read_without_an_event_loop_or_a_client() -> None:
    """The plugin reads ModelDeployments, and has neither (ADR 30)."""
    heavy = "aiohttp", "asyncio", "kopf", "kubernetes"
    read_all = (
        f"from lastgood.api.specs.signals import kinds; import sys; kinds(); print(sys.modules.keys() & {set(heavy)})"
    )
    done = subprocess.run([sys.executable, "-c", read_all], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
