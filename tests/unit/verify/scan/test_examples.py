"""What docs/scanning.md shows is run, and what it tells of exists."""

import json
import re
from pathlib import Path

from lastgood.verify import scan
from lastgood.verify.scan import external

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "scanning.md").read_text()
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_example_in_python_runs() -> None:
    examples = [text for language, text in FENCE.findall(PAGE) if language == "python"]
    assert examples
    for text in examples:
        exec(compile(text, "docs/scanning.md", "exec"), {})  # noqa: S102 - our own page


def test_example_of_an_external_result_is_accepted() -> None:
    (text,) = [text for language, text in FENCE.findall(PAGE) if language == "json"]
    assert external.parse(text.encode(), nonce=json.loads(text)["nonce"]).findings[0].rule == "acme/trigger"


def test_every_rule_is_on_the_page() -> None:
    package = Path(scan.__file__).parent
    sources = "".join(path.read_text() for path in sorted(package.glob("*.py")))
    rules = set(re.findall(r"\"((?:[a-z]+-)+[a-z]+)\", (?:part\.name|shown|file|archive|\"\.\"|inner\.name)", sources))
    assert len(rules) > 30
    families = {name.removesuffix("*") for name in re.findall(r"`([a-z]+-\*)`", PAGE)}
    names = set(re.findall(r"`([a-z-]+)`", PAGE))
    own = {"refused-entry", "nothing-to-scan"}
    assert {rule for rule in rules - names - own if not rule.startswith(tuple(families))} == {"not-checked-config"}
