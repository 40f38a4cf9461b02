"""The Python example of docs/sources.md, with a real store in the place of the one that it names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lastgood.verify import Verdict, digest
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY
from tests.servers.samples import DIGEST, FILES

if TYPE_CHECKING:
    from tests.servers.s3 import S3Server

PAGE = Path(__file__).resolve().parents[3] / "docs" / "sources.md"


def example(replaced: dict[str, str]) -> str:
    """Return the code of the page with other texts in the places of some."""
    (block,) = [part.partition("```")[0] for part in PAGE.read_text().split("```python\n")[1:]]
    for old, new in replaced.items():
        assert old in block, old
        block = block.replace(old, new)
    return block


def test_python_example_runs(s3: S3Server, tmp_path: Path) -> None:
    s3.put("digits/2", FILES)
    code = example(
        {
            "https://s3.example.com": s3.endpoint,
            'access_key_id="reader"': f'access_key_id="{ACCESS_KEY}"',
            'secret_access_key="put-yours-here"': f'secret_access_key="{SECRET_KEY}"',
            "AddressPolicy()": "AddressPolicy(allow_loopback=True)",
            '"sha256:" + 64 * "0"': f'"{DIGEST}"',
            "/models/digits": str(tmp_path / "digits"),
        }
    )
    found: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), found)  # noqa: S102  # our own page
    assert found["result"].verdict is Verdict.VERIFIED
    assert digest(tmp_path / "digits").digest == DIGEST
