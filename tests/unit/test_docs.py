"""The docs say what is true: links lead somewhere, examples are accepted, commands and names exist."""

from __future__ import annotations

import re
import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from docs import reference
from lastgood.api import names
from lastgood.api.specs.deployment import ModelDeployment
from lastgood.api.specs.rollback import ModelRollback
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.api.specs.trust import ModelTrustPolicy
from lastgood.cli import app, run
from lastgood.cli.oncall import plugin
from lastgood.controller.serving import metrics
from lastgood.core.requests.requests import parse_wish
from lastgood.core.words import INTEGRITY
from lastgood.settings import NAMES
from lastgood.signals.expression import Expression
from lastgood.verify.scan import external

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "tests" / "cluster" / "README.md"])
KINDS: dict[str, Any] = {
    kind.__name__: kind for kind in (ModelSnapshot, ModelDeployment, ModelRollback, ModelTrustPolicy)
}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
PICTURE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)")
KEY = re.compile(r"(?<!\.)\blastgood\.dev/[a-z0-9.-]*[a-z0-9]")
COMMAND = re.compile(r"^\$ (.*?(?:\\\n.*?)*)$", re.MULTILINE)
HERE = ("lastgood ", "kubectl lastgood ")
Body = dict[str, Any]


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(page: Path, *languages: str) -> Iterator[str]:
    return (body for language, body in FENCE.findall(page.read_text()) if language in languages)


def bodies(page: Path) -> Iterator[Body]:
    for block in blocks(page, "yaml"):
        yield from (body for body in yaml.safe_load_all(block) if body.get("apiVersion") == names.API_VERSION)


def commands(page: Path) -> Iterator[str]:
    for block in blocks(page, "console"):
        yield from (command.replace("\\\n", " ") for command in COMMAND.findall(block))


def all_of(pages: list[Path], found: Any) -> list[Any]:
    return [pytest.param(item, id=f"{shown(page)}-{count}") for page in pages for count, item in enumerate(found(page))]


def anchors(page: Path) -> set[str]:
    text = FENCE.sub("", page.read_text())
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def schema_of(kind: str) -> Body:
    plural = f"{kind.lower()}s".replace("policys", "policies")
    crd = yaml.safe_load((ROOT / "crds" / f"{plural}.yaml").read_text())
    found: Body = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def unknown_fields(value: object, schema: Body, path: str) -> Iterator[str]:
    """Yield what an object has and its schema has not, and what is missing."""
    match value:
        case dict() if "properties" in schema:
            yield from (f"{path}.{name} is missing" for name in schema.get("required", ()) if name not in value)
            for name, inner in value.items():
                if name not in schema["properties"]:
                    yield f"{path}.{name} is unknown"
                else:
                    yield from unknown_fields(inner, schema["properties"][name], f"{path}.{name}")
        case list():
            for inner in value:
                yield from unknown_fields(inner, schema["items"], f"{path}[]")
        case _ if "enum" in schema and value not in schema["enum"]:
            yield f"{path} must be one of {schema['enum']}"


def test_names_page_is_what_the_names_are() -> None:
    assert reference.page() == reference.PAGE.read_text(), "run `python docs/reference.py`"


def test_name_without_a_meaning_is_noticed() -> None:
    with pytest.raises(reference.Gap, match="Brandnew"):
        reference.complete("reasons", {"Brandnew"}, {})


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), f"{link} leads nowhere"
        if anchor:
            assert anchor in anchors(there), f"{link}: there is no such heading"


def test_pictures_are_there_and_small() -> None:
    pictures = [(page.parent / link).resolve() for page in PAGES for link in PICTURE.findall(page.read_text())]
    assert pictures
    assert [shown(path) for path in pictures if path.stat().st_size > 200_000] == []


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_page_can_be_read_in_one_sitting(page: Path) -> None:
    assert len(page.read_text().splitlines()) <= 400


def test_every_page_is_linked_from_the_readme_or_a_list() -> None:
    linked = {
        (page.parent / link.partition("#")[0]).resolve() for page in PAGES for link in LINK.findall(page.read_text())
    }
    assert [shown(page) for page in PAGES if page not in linked and page != ROOT / "README.md"] == []


def test_every_python_example_is_run_by_a_test() -> None:
    with_code = [page for page in PAGES if any(blocks(page, "python")) and "cluster" not in page.parts]
    tests = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]
    assert [shown(page) for page in with_code if not any(f'"{page.name}"' in text for text in tests)] == []


@pytest.mark.parametrize("body", all_of(PAGES, bodies))
def test_example_is_what_the_definitions_accept(body: Body) -> None:
    kind = body["kind"]
    KINDS[kind].from_body(body)
    schema = schema_of(kind)
    assert list(unknown_fields(body["spec"], schema["properties"]["spec"], "spec")) == []
    assert set(body) <= {"apiVersion", "kind", "metadata", "spec"}


def test_there_are_examples_of_every_kind() -> None:
    assert {body["kind"] for page in PAGES for body in bodies(page)} == set(KINDS)


@pytest.mark.parametrize("body", all_of(PAGES, bodies))
def test_expressions_of_examples_compile(body: Body) -> None:
    spec = body["spec"]
    for item in (*spec.get("triggers", ()), *spec.get("validation", {}).get("checks", ())):
        text = item.get("failureCondition") or item.get("successCondition")
        if text:
            Expression.compile(text)


def test_expressions_of_the_triggers_page_compile() -> None:
    found = [line for block in blocks(ROOT / "docs" / "triggers.md", "text") for line in block.splitlines()]
    assert found
    for line in found:
        Expression.compile(line)


def test_texts_of_requests_are_understood() -> None:
    page = ROOT / "docs" / "operations.md"
    found = [line for block in blocks(page, "text") for line in block.splitlines()]
    assert found
    for line in found:
        wish = parse_wish(line)
        assert not wish.error, line
        assert wish.incident == "INC-1234", line


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_labels_and_annotations_exist(page: Path) -> None:
    known = reference.keys() | {names.API_VERSION, external.API_VERSION.rpartition("/")[0]}
    assert {key.removeprefix("`") for key in KEY.findall(page.read_text())} <= known


@pytest.mark.parametrize("command", all_of(PAGES, lambda page: [c for c in commands(page) if c.startswith(HERE)]))
def test_command_is_understood(command: str) -> None:
    words = shlex.split(re.split(r"\s[|>]", command)[0], comments=True)
    parser = plugin.build() if words[0] == "kubectl" else app.build()
    arguments = words[2:] if words[0] == "kubectl" else words[1:]
    if arguments[0] == "run":
        parser, arguments = run.parser(), arguments[1:]  # type: ignore[assignment]  # either kind of parser will do
    if arguments == ["--version"]:
        with suppress(SystemExit):
            parser.parse_args(arguments)
        return
    parser.parse_args(arguments)


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_make_targets_and_files_exist(page: Path) -> None:
    text = page.read_text()
    targets = set(re.findall(r"^([a-z0-9]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|\$ )make ([a-z0-9]+)", text)) <= targets
    paths = re.findall(r"`((?:charts|crds|demo|deploy|docs|examples|operator|tests)/[\w./-]+)`", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_settings_are_all_documented() -> None:
    text = (ROOT / "docs" / "install.md").read_text()
    assert [name for name in NAMES.values() if f"`{name}`" not in text] == []
    flags = {flag for action in run.parser()._actions for flag in action.option_strings if flag.startswith("--")}  # noqa: SLF001  argparse shows its options nowhere else
    told = flags - {"--help", "--kubeconfig", "--log-level"}
    assert [flag for flag in sorted(told) if f"`{flag}`" not in text] == []


def test_metrics_are_all_documented_and_no_rule_asks_for_another() -> None:
    page = ROOT / "docs" / "metrics.md"
    known = {str(name) for name in names.MetricName}
    assert known == set(re.findall(r"^\| `(lastgood_\w+)` \|", page.read_text(), re.MULTILINE))
    rules = [rule for rule in prometheus_rules(page) if set(re.findall(r"lastgood_\w+", rule["expr"])) <= known]
    assert {rule["alert"] for rule in rules} >= {"KnownGoodNotVerified", "NoKnownGood"}
    assert rules == prometheus_rules(page)


def test_conditions_of_alerts_are_told() -> None:
    asked = {
        (kind, condition)
        for rule in prometheus_rules(ROOT / "docs" / "metrics.md")
        for kind, condition in re.findall(r'lastgood_(\w+)_condition\{condition="(\w+)"\}', rule["expr"])
    }
    told = {"snapshot": metrics.SNAPSHOT_CONDITIONS, "deployment": metrics.DEPLOYMENT_CONDITIONS}
    assert asked
    assert asked <= {(kind, str(type_)) for kind, types in told.items() for type_ in types}


def prometheus_rules(page: Path) -> list[Body]:
    found = [yaml.safe_load(block) for block in blocks(page, "yaml") if "kind: PrometheusRule" in block]
    return [rule for body in found for group in body["spec"]["groups"] for rule in group["rules"]]


def test_undeclared_trigger_has_its_name() -> None:
    assert f"`{INTEGRITY}`" in (ROOT / "docs" / "triggers.md").read_text()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_field_of_a_spec_is_on_its_page(kind: str) -> None:
    text = (ROOT / "docs" / f"{kind.lower()}.md").read_text()
    spec = schema_of(kind)["properties"]["spec"]["properties"]
    assert [name for name in spec if name not in text] == []
