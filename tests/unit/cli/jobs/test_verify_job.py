"""What a verification Job prints: one JSON document, whatever it met."""

import errno
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lastgood.api.facts.evidence import Finding, Scan, read_examined, read_scan
from lastgood.api.facts.signature import Examined, Method, SignatureFact
from lastgood.api.fields import Fields
from lastgood.api.names import Digest, Severity
from lastgood.cli.jobs import verify_job
from lastgood.verify import Result, Verdict, digest
from lastgood.verify.inspection import Inspection
from tests.unit.cli.signing import ZEROS, call


class TestVerifyJob:
    def run(self, root: Path, expected: str, path: str = "digits/2") -> tuple[int, dict[str, Any]]:
        log = root / "termination-log"
        code = call(
            *("verify-job", "--root", root, "--path", path, "--digest", expected),
            *("--nonce", "n-1", "--termination-log", log),
        )
        assert log.stat().st_size <= 4096
        return code, json.loads(log.read_bytes())

    def test_verdict_is_written_with_the_nonce(self, checkpoint: Path, tmp_path: Path) -> None:
        expected = digest(checkpoint).digest
        code, verdict = self.run(tmp_path, expected)
        assert code == 0
        assert verdict["seconds"] > 0
        assert verdict["blake3"].startswith("blake3:")
        assert {key: value for key, value in verdict.items() if key not in ("seconds", "blake3")} == {
            "nonce": "n-1",
            "verdict": "Verified",
            "expected": expected,
            "actual": expected,
            "sizeBytes": 9,
            "fileCount": 2,
            "findings": [],
            "message": f"digits/2 is {expected}",
        }

    def test_mismatch_is_a_verdict_and_no_failure(self, checkpoint: Path, tmp_path: Path) -> None:
        code, verdict = self.run(tmp_path, ZEROS)
        assert (code, verdict["verdict"], verdict["actual"]) == (0, "DigestMismatch", digest(checkpoint).digest)

    def test_unreadable_is_a_verdict_and_no_failure(self, tmp_path: Path) -> None:
        code, verdict = self.run(tmp_path, ZEROS)
        assert (code, verdict["verdict"], verdict["actual"]) == (0, "Unreadable", None)

    def test_findings_of_an_attacker_do_not_push_the_verdict_out(self, checkpoint: Path, tmp_path: Path) -> None:
        for number in range(30):
            (checkpoint / f"{number:02}{'😀' * 60}").symlink_to("model.bin")
        code, verdict = self.run(tmp_path, ZEROS)
        assert (code, verdict["verdict"], verdict["nonce"]) == (0, "DigestMismatch", "n-1")
        assert len(verdict["findings"]) > 1

    def test_log_that_cannot_be_written_fails_the_job(
        self, checkpoint: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        root, log = checkpoint.parent.parent, checkpoint / "absent" / "log"
        assert call(
            *("verify-job", "--root", root, "--path", "digits/2", "--digest", ZEROS),
            *("--nonce", "n", "--termination-log", log),
        )
        assert f"--termination-log: {log} cannot be written: {os.strerror(errno.ENOENT)}" in capsys.readouterr().err

    @pytest.mark.parametrize("path", ["/etc", "../up", "a/../b", "", "a//b", "a\nb"])
    def test_path_out_of_the_volume_is_refused(self, tmp_path: Path, path: str) -> None:
        log = tmp_path / "log"
        arguments = ("--root", tmp_path, "--digest", ZEROS, "--nonce", "n", "--termination-log", log)
        assert call("verify-job", "--path", path, *arguments) == 2
        assert not log.exists()

    def test_as_many_findings_as_fit(self) -> None:
        short = verify_job.message("n", Inspection(result=mismatch("😀" * 999, ("😀" * 100,) * 20)))
        assert len(json.loads(short)["findings"]) == 4
        assert json.loads(short)["findings"][-1] == "and 17 more"

    @given(text=st.text(), findings=st.lists(st.text(max_size=500), max_size=20))
    def test_message_always_fits(self, text: str, findings: list[str]) -> None:
        short = verify_job.message("n" * 128, Inspection(result=mismatch(text * 100, tuple(findings))))
        assert len(short.encode()) <= verify_job.MAX_MESSAGE

    @given(facts=st.integers(0, 16), identity=st.text(max_size=1024), scanned=st.integers(0, 40))
    def test_message_with_signatures_and_a_scan_fits_and_keeps_signers(
        self, facts: int, identity: str, scanned: int
    ) -> None:
        now = datetime(2026, 11, 21, tzinfo=UTC)
        fact = SignatureFact(method=Method.CERTIFICATE, key_id="a" * 64, root_id="b" * 64, identity=identity)
        finding = Finding(severity=Severity.LOW, rule="r" * 64, file=identity, evidence=identity)
        examined = Examined(time=now, digest=Digest(ZEROS), anchors=ZEROS, facts=(fact,) * facts)
        scan = Scan(time=now, digest=Digest(ZEROS), verdict="Finding", findings=(finding,) * scanned)
        found = Inspection(result=mismatch("no", ()), examined=examined, scan=scan)
        short = verify_job.message("n" * 128, found)
        assert len(short.encode()) <= verify_job.MAX_MESSAGE
        read = read_examined(Fields(json.loads(short), strict=False).child("examined"))
        assert read is not None
        assert facts == 0 or read.facts or len(identity.encode()) > 600
        assert len(read.facts) == facts or "did not fit" in read.problems[0].message

    @given(
        lighter=st.integers(0, 300),
        name=st.text(max_size=1024),
        worst=st.sampled_from([Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL]),
        facts=st.integers(0, 16),
    )
    @example(lighter=200, name="\N{BRAIN}" * 1024, worst=Severity.CRITICAL, facts=16)
    def test_long_names_do_not_drop_the_worst_finding(
        self, lighter: int, name: str, worst: Severity, facts: int
    ) -> None:
        now = datetime(2026, 11, 21, tzinfo=UTC)
        fact = SignatureFact(method=Method.KEY, key_id="a" * 64, left_out=(name,))
        low, grave = (
            Finding(severity=severity, rule="r" * 64, file=name, evidence=name) for severity in (Severity.LOW, worst)
        )
        examined = Examined(time=now, digest=Digest(ZEROS), anchors=ZEROS, facts=(fact,) * facts)
        scan = Scan(
            time=now,
            digest=Digest(ZEROS),
            verdict="Anomaly",
            formats=tuple(f"format-{number:010}" for number in range(40)),
            findings=(*(low,) * lighter, grave),
        )
        short = verify_job.message("n" * 128, Inspection(result=mismatch(name, ()), examined=examined, scan=scan))
        assert len(short.encode()) <= verify_job.MAX_MESSAGE
        read = read_scan(Fields(json.loads(short), strict=False).child("scan"))
        assert read is not None
        assert read.findings[0].severity == worst
        assert len(read.findings) + read.left_out == lighter + 1


def mismatch(message: str, findings: tuple[str, ...]) -> Result:
    return Result(
        verdict=Verdict.MISMATCH,
        expected=ZEROS,
        actual=None,
        size_bytes=0,
        file_count=0,
        seconds=0.0,
        findings=findings,
        message=message,
    )
