"""The Python example of docs/store.md does what it says."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[4] / "docs" / "store.md"


def test_the_example_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    exec(compile(example, str(PAGE), "exec"), {})  # noqa: S102 - our own page, which must be true
