"""A fresh machine, on a day on which everything that the lock names has a newer release: set-up, lint, unit tests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.cluster.clean import cleanroot
from tests.cluster.clean.newer import newer_releases, pins
from tests.cluster.paths import ROOT, cache

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.cluster, pytest.mark.node, pytest.mark.timeout(2400)]

LOCK = ROOT / "requirements" / "dev.txt"
COMMAND = "make setup lint unit && .venv/bin/python -m pip freeze --all --exclude-editable"


def test_clean_debian_with_make_and_python_sets_up_lints_and_skips_no_test(tmp_path: Path) -> None:
    newer_releases(tmp_path, [LOCK])
    code, said = cleanroot.run(COMMAND, variables={"PIP_FIND_LINKS": str(tmp_path)})
    assert code == 0, said[-5000:]
    (counted,) = re.findall(r"^unit +(\d+) passed(.*)$", said, re.MULTILINE)
    assert int(counted[0]) > 3000
    assert counted[1] == "", "0 skipped, 0 failed"
    installed = dict(re.findall(r"^([\w.-]+)==(\S+)$", said, re.MULTILINE))
    assert {name.lower().replace("_", "-"): version for name, version in installed.items()} == pins(LOCK)


def test_nothing_of_this_machine_is_in_there_and_nothing_stays() -> None:
    programs = "for name in git go curl strace fusermount; do command -v $name; done"
    code, said = cleanroot.run(f"ls -A /root; echo -; ls; echo -; {programs}; sleep 1000 >/dev/null 2>&1 & true")
    assert code == 0, said
    home, files, found = f"{said}\n".split("-\n")
    assert set(home.split()) <= {".bashrc", ".profile", ".config", ".pip", "lastgood"}
    assert "Makefile" in files.split()
    assert ".venv" not in files.split()
    assert found == ""
    assert not (cache() / "cleanroot").exists()
