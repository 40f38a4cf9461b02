"""The `lastgood` command: what it prints where, its exit codes, and one sentence for every mistake."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lastgood import __version__
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.api.specs.sources import PvcSource, StoreSource
from lastgood.cli.app import build
from lastgood.verify import digest
from tests.unit.cli.signing import ZEROS, call


def test_digest_prints_the_digest_and_nothing_else(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("digest", checkpoint) == 0
    assert capsys.readouterr() == (digest(checkpoint).digest + "\n", "")


def test_digest_as_json_lists_the_files(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("digest", checkpoint, "--output", "json") == 0
    body = json.loads(capsys.readouterr().out)
    assert (body["digest"], body["sizeBytes"], body["fileCount"]) == (digest(checkpoint).digest, 9, 2)
    assert [file["path"] for file in body["files"]] == ["config.json", "model.bin"]


def test_a_limit_without_an_option_promises_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deep = tmp_path / "max_files" / "/".join("d" * 40)
    deep.mkdir(parents=True)
    (deep / "f").touch()
    assert call("digest", tmp_path) == 3
    printed = capsys.readouterr().err
    assert ("deeper than the limit of 32" in printed, "--max" in printed) == (True, False)


@pytest.mark.parametrize("word", ["version", "--version"])
def test_version(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(word) == 0
    assert capsys.readouterr().out == f"lastgood {__version__}\n"


@pytest.mark.parametrize("arguments", [["version"], ["digest", "/etc/hostname"], ["--help"]])
def test_short_commands_do_not_load_the_operator(arguments: list[str]) -> None:
    code = (
        "import sys, contextlib\nfrom lastgood.__main__ import main\n"
        f"with contextlib.suppress(SystemExit): main({arguments!r})\n"
        "print([name for name in ('kopf', 'kubernetes', 'aiohttp', 'cel') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_lists_the_commands_but_not_the_operators_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--help") == 0
    text = capsys.readouterr().out
    assert all(f"\n    {command} " in text for command in ("run", "digest", "snapshot", "verify", "version"))
    assert "verify-job" not in text


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        pytest.param([], 2, "COMMAND", id="no command"),
        pytest.param(["--version", "run"], 2, "unrecognized arguments: run", id="a version and more"),
        pytest.param(["dijest"], 2, "invalid choice: 'dijest'", id="a command that is none"),
        pytest.param(["digest"], 2, "PATH", id="no path"),
        pytest.param(["digest", "/absent"], 3, "/absent: ENOENT", id="a path that is missing"),
        pytest.param(["digest", "/dev/null"], 1, "is a character device", id="a path that is a device"),
        pytest.param(["digest", "/etc", "--max-files", "0"], 2, "--max-files: must be", id="a limit of nothing"),
        pytest.param(["digest", "/etc", "--max-files", "1"], 3, "raise the limit with --max-files", id="a low limit"),
        pytest.param(["digest", "/etc/hostname", "--out", "json"], 2, "--out", id="an abbreviated option"),
        pytest.param(["verify", "/etc/hostname"], 2, "--digest", id="no digest"),
        pytest.param(["verify", "/tmp", "--digest", "abc"], 2, "--digest: must be sha256: and", id="no digest either"),  # noqa: S108 - not written to
    ],
)
def test_a_mistake_is_one_sentence_on_stderr(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*arguments) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert words in printed.err
    assert printed.err.count("\n") == 1


def test_name_from_the_disk_does_not_reach_the_terminal_as_it_is(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkpoint / "\x1b[2Jevil").symlink_to("model.bin")
    assert call("digest", checkpoint) == 1
    assert "\\x1b[2Jevil is a symbolic link" in capsys.readouterr().err


class TestVerify:
    @pytest.mark.parametrize(
        ("output", "parse"), [("json", json.loads), ("yaml", yaml.safe_load)], ids=["json", "yaml"]
    )
    def test_verified_is_0(self, checkpoint: Path, capsys: pytest.CaptureFixture[str], output: str, parse: Any) -> None:
        expected = digest(checkpoint).digest
        assert call("verify", checkpoint, "--digest", expected, "--output", output) == 0
        body = parse(capsys.readouterr().out)
        assert (body["verdict"], body["expected"], body["actual"]) == ("Verified", expected, expected)

    def test_mismatch_is_1_and_names_both_digests(self, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert call("verify", checkpoint, "--digest", ZEROS) == 1
        text = capsys.readouterr().out
        assert text.startswith("DigestMismatch: ")
        assert ZEROS in text
        assert digest(checkpoint).digest in text

    def test_unreadable_is_3(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert call("verify", tmp_path / "absent", "--digest", ZEROS) == 3
        assert capsys.readouterr().out.startswith("Unreadable: ")

    def test_manifest_names_what_differs(
        self, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        call("digest", checkpoint, "--output", "json")
        (tmp_path / "manifest.json").write_text(capsys.readouterr().out)
        expected = digest(checkpoint).digest
        (checkpoint / "model.bin").write_bytes(b"Weights")
        assert call("verify", checkpoint, "--digest", expected, "--manifest", tmp_path / "manifest.json") == 1
        assert "\n  model.bin is changed" in capsys.readouterr().out

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 1}', '{"files": [1]}', "[" * 100_000, None])
    def test_manifest_that_is_none_is_a_mistake(
        self, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None
    ) -> None:
        if text is not None:
            (tmp_path / "manifest.json").write_text(text)
        assert call("verify", checkpoint, "--digest", ZEROS, "--manifest", tmp_path / "manifest.json") == 2
        assert "--manifest: " in capsys.readouterr().err

    def test_manifest_of_something_else_is_a_mistake(
        self, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        call("digest", checkpoint, "--output", "json")
        (tmp_path / "manifest.json").write_text(capsys.readouterr().out)
        assert call("verify", checkpoint, "--digest", ZEROS, "--manifest", tmp_path / "manifest.json") == 2


def test_output_that_cannot_be_written_is_no_refusal(checkpoint: Path) -> None:
    command = [sys.executable, "-m", "lastgood", "verify", str(checkpoint), "--digest", digest(checkpoint).digest]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr.count(b"\n")) == (3, 1)
    assert b"the output could not be written: No space left" in done.stderr


@pytest.mark.parametrize("command", ["verify", "digest", "scan"])
def test_variable_that_is_not_set_is_not_the_current_directory(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(command, "", *(("--digest", ZEROS) if command == "verify" else ())) == 2
    assert "must not be empty" in capsys.readouterr().err


def test_capture_reads_its_path_although_the_store_has_the_digest(checkpoint: Path, tmp_path: Path) -> None:
    """Else a pipeline that captures as its check passes whatever it is given."""
    store, other = tmp_path / "store", tmp_path / "other"
    store.mkdir()
    other.mkdir()
    (other / "model.bin").write_bytes(b"evil")
    good = digest(checkpoint).digest
    assert call("store", "capture", checkpoint, "--store", store, "--digest", good) == 0
    assert call("store", "capture", other, "--store", store, "--digest", good) == 1


class TestSnapshot:
    def create(self, checkpoint: Path, *more: object) -> int:
        return call("snapshot", "create", checkpoint, "--model", "digits", "--version", "2.0 RC", *more)

    def test_yaml_is_ready_to_apply(self, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
        options = ("--trained-at", "2026-03-01", "--data-cutoff", "2026-02-20T12:00:00+02:00", "-n", "ml")
        image = ("--image", "registry/server@sha256:abc")
        assert self.create(checkpoint, "--pvc", "models", "--path", "digits/2", *options, *image) == 0
        body = yaml.safe_load(capsys.readouterr().out)
        assert body["spec"]["trainedAt"] == "2026-03-01T00:00:00Z"
        assert body["spec"]["dataCutoff"] == "2026-02-20T10:00:00Z"
        snapshot = ModelSnapshot.from_body(body)
        assert (snapshot.meta.namespace, snapshot.name) == ("ml", "digits-2.0-rc")
        assert snapshot.source == PvcSource(claim="models", path="digits/2")
        assert (snapshot.digest, snapshot.image) == (digest(checkpoint).digest, "registry/server@sha256:abc")

    def test_header_says_what_to_do_next(self, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.create(checkpoint, "--store-path", "digits/2", "--name", "other") == 0
        text = capsys.readouterr().out
        assert ModelSnapshot.from_body(yaml.safe_load(text)).source == StoreSource(path="digits/2")
        assert "2 files, 9 bytes" in text.splitlines()[0]
        assert "# 1. Put exactly these bytes in the operator's store, at digits/2." in text
        assert "kubectl get modelsnapshot other --watch" in text

    def test_path_cannot_break_out_of_the_comment(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "model\nkind: Secret"
        path.write_bytes(b"weights")
        assert self.create(path, "--store-path", "digits/2") == 0
        assert yaml.safe_load(capsys.readouterr().out)["kind"] == "ModelSnapshot"

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            pytest.param([], "--store-path --pvc", id="no place"),
            pytest.param(["--store-path", "a", "--pvc", "b"], "not allowed with", id="two places"),
            pytest.param(["--pvc", "models"], "--path: is missing", id="a claim without a path"),
            pytest.param(["--store-path", "a", "--path", "b"], "--path: belongs to --pvc", id="two paths"),
            pytest.param(["--store-path", "../a"], "--store-path: must be relative", id="a path out of the store"),
            pytest.param(["--store-path", "/a"], "--store-path: must be relative", id="an absolute path"),
            pytest.param(["--store-path", "a\\b"], "--store-path: must be relative", id="a path of another system"),
            pytest.param(["--store-path", "a", "--name", "A_b"], "--name: must be", id="a name that is none"),
            pytest.param(["--store-path", "a", "--model", "A"], "--model: must be", id="a model that is none"),
            pytest.param(["--store-path", "a", "--version", ""], "--version: must be", id="an empty version"),
            pytest.param(["--store-path", "a", "--version", "模"], "--name: is required", id="no name to derive"),
            pytest.param(["--store-path", "a", "--trained-at", "soon"], "--trained-at: must be", id="no time"),
            pytest.param(
                ["--store-path", "a", "--trained-at", "2026-03-01T10:00:00"], "time zone", id="a time of any zone"
            ),
            pytest.param(["--store-path", "a", "--image", "a b"], "--image: must be", id="an image with a space"),
        ],
    )
    def test_mistakes_are_named(
        self, checkpoint: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.create(checkpoint, *options) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert words in printed.err


def test_help_and_version_wait_for_no_library_that_they_do_not_use() -> None:
    program = "import sys; from lastgood.cli.app import build; build('{}'); print(*sys.modules)"
    heavy = {"cryptography", "httpcore", "kopf", "kubernetes", "yaml", "lastgood.verify"}
    for command in ("--help", "version", "nonsense"):
        ran = subprocess.run(
            [sys.executable, "-c", program.format(command)], check=True, capture_output=True, text=True
        )
        assert heavy & set(ran.stdout.split()) == set()
    ran = subprocess.run([sys.executable, "-c", program.format("digest")], check=True, capture_output=True, text=True)
    assert {"cryptography", "httpcore", "kopf"} & set(ran.stdout.split()) == set()


def test_a_command_knows_the_same_options_alone_and_among_all() -> None:
    def shown(only: str | None, command: str) -> str:
        (group,) = [action for action in build(only)._actions if action.dest == "==SUPPRESS=="]  # noqa: SLF001  # argparse shows them nowhere else
        parsers: Any = group.choices
        return str(parsers[command].format_help())

    for command in ("digest", "snapshot", "keygen", "sign", "store", "verify", "fetch", "scan", "verify-job"):
        assert shown(command, command) == shown(None, command)
