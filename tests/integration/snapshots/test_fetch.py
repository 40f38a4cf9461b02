"""`lastgood fetch` as a process: what has the name afterwards is whole and right, and nothing else is there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from lastgood.verify import digest
from tests.servers.attacker import Request, attacker
from tests.servers.registry import PASSWORD, USER
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY
from tests.servers.samples import DIGEST, FILES, raw, sha256_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.registry import RegistryServer
    from tests.servers.s3 import S3Server

COMMAND = [sys.executable, "-m", "lastgood", "fetch"]


def fetch(uri: str, path: Path, *options: str, wanted: str = DIGEST, **environment: str) -> tuple[int, str, str]:
    argv = [*COMMAND, uri, str(path), "--digest", wanted, *options]
    done = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, **environment}, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def secret(folder: Path, **values: str) -> str:
    """Write a Secret as the kubelet mounts it."""
    folder.mkdir()
    for key, value in values.items():
        (folder / key).write_text(value + "\n")
    return str(folder)


def test_a_checkpoint_in_s3_arrives_once_and_is_kept(s3: S3Server, tmp_path: Path) -> None:
    s3.put("fetched", FILES)
    keys = secret(tmp_path / "keys", host=s3.endpoint, accessKeyId=ACCESS_KEY, secretAccessKey=SECRET_KEY)
    uri = f"s3://models/fetched?endpoint={s3.endpoint}"
    code, out, _ = fetch(uri, tmp_path / "model", "--credentials-from", keys)
    assert (code, out.startswith("Verified: ")) == (0, True)
    assert digest(tmp_path / "model").digest == DIGEST
    nowhere = f"s3://models/fetched?endpoint={s3.endpoint[:-1]}"
    assert fetch(nowhere, tmp_path / "model")[0] == 0, "a container that starts again asks nobody"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keys", "model"]


def test_a_refused_checkpoint_leaves_nothing(s3: S3Server, tmp_path: Path) -> None:
    s3.put("evil", {**FILES, "config.json": b"evil"})
    uri = f"s3://models/evil?endpoint={s3.endpoint}"
    environment = {
        "LASTGOOD_CREDENTIALS_HOST": s3.endpoint,
        "LASTGOOD_CREDENTIALS_ACCESS_KEY_ID": ACCESS_KEY,
        "LASTGOOD_CREDENTIALS_SECRET_ACCESS_KEY": SECRET_KEY,
    }
    code, out, err = fetch(uri, tmp_path / "model", "--credentials-from", "env", **environment)
    assert (code, out.startswith("DigestMismatch: ")) == (1, True)
    assert SECRET_KEY not in out + err
    assert list(tmp_path.iterdir()) == []


def test_a_mirror_is_used_where_the_first_copy_is_not_good(
    private_registry: RegistryServer, registry: RegistryServer, tmp_path: Path
) -> None:
    bad = registry.push("fetched/bad", [(b"evil", raw("config.json"))])
    good = private_registry.push("fetched/good", [(content, raw(path)) for path, content in FILES.items()])
    file = tmp_path / "credentials.yaml"
    file.write_text(json.dumps({"host": f"http://{private_registry.host}", "username": USER, "password": PASSWORD}))
    options = ("--mirror", f"oci://{good}", "--credentials-from", str(file), "--output", "json")
    code, out, err = fetch(f"oci://{bad}", tmp_path / "model", *options)
    body = json.loads(out)
    assert (code, body["verdict"], body["source"]) == (0, "Verified", f"oci://{good}")
    assert [passed["verdict"] for passed in body["passedOver"]] == ["DigestMismatch"]
    assert "passed over: DigestMismatch" in err
    assert PASSWORD not in out + err


def test_a_pod_whose_snapshot_is_on_a_volume_now_still_has_its_mirrors(
    registry: RegistryServer, tmp_path: Path
) -> None:
    good = registry.push("fetched/still-good", [(content, raw(path)) for path, content in FILES.items()])
    code, _, err = fetch("store://sha256/ab/cd", tmp_path / "model", "--mirror", f"oci://{good}")
    assert (code, "one is on a volume" in err) == (0, True)
    code, _, err = fetch("store://sha256/ab/cd", tmp_path / "other")
    assert (code, "name a --mirror elsewhere" in err) == (2, True)


def test_a_single_file_arrives_over_http(tmp_path: Path) -> None:
    with attacker(lambda request: request.say(body=b"weights")) as server:
        assert fetch(f"{server.url}/f", tmp_path / "f", wanted=sha256_of(b"weights"))[0] == 0
        assert (tmp_path / "f").read_bytes() == b"weights"
        assert oct((tmp_path / "f").stat().st_mode & 0o777) == "0o644"


def test_what_cannot_be_read_is_3_and_leaves_nothing(tmp_path: Path) -> None:
    with attacker(lambda request: request.say(404)) as server:
        assert fetch(f"{server.url}/f", tmp_path / "f")[0] == 3
        assert list(tmp_path.iterdir()) == []


def test_something_else_at_the_destination_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"precious")
    with attacker(lambda request: request.say(body=b"weights")) as server:
        code, out, _ = fetch(f"{server.url}/f", tmp_path / "f", wanted=sha256_of(b"weights"))
        assert (code, server.seen) == (1, [])
    assert "nothing was fetched" in out
    assert (tmp_path / "f").read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("uri", "options"),
    [
        ("file:///etc/passwd", ()),
        ("oci://registry.example/m:latest", ()),
        ("https://me:s3cret@h.example/f", ()),
        ("https://h.example/f", ("--credentials-from", "/nowhere")),
        ("https://h.example/f", ("--credentials-from", "env")),
    ],
)
def test_wrong_usage_is_2_and_shows_no_secret(uri: str, options: tuple[str, ...], tmp_path: Path) -> None:
    code, out, err = fetch(uri, tmp_path / "f", *options)
    assert (code, out) == (2, "")
    assert "s3cret" not in err


def test_credentials_for_a_host_that_no_uri_names_are_told_of_and_sent_nowhere(tmp_path: Path) -> None:
    keys = secret(tmp_path / "keys", host="other.example", token="s3cret")
    with attacker(lambda request: request.say(body=b"weights")) as server:
        code, _, err = fetch(
            f"{server.url}/f", tmp_path / "f", "--credentials-from", keys, wanted=sha256_of(b"weights")
        )
    assert (code, "s3cret" in err) == (0, False)
    assert "no URI is at https://other.example, so these credentials are not used" in err
    assert [headers.get("authorization") for _, headers in server.seen] == [None]


def test_a_killed_fetch_leaves_no_checkpoint_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    def answer(request: Request) -> None:
        if len(server.seen) > 1:
            request.say(body=b"weights" * 1000)
            return
        request.send_response(200)
        request.send_header("Content-Length", "7000")
        request.end_headers()
        request.wfile.write(b"weights" * 100)
        request.wfile.flush()
        time.sleep(10)

    wanted = sha256_of(b"weights" * 1000)
    with attacker(answer) as server:
        argv = [*COMMAND, f"{server.url}/f", str(tmp_path / "f"), "--digest", wanted]
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 60
            while not list(tmp_path.glob(".lastgood-fetch-*/content")) and time.monotonic() < deadline:
                time.sleep(0.05)
            process.send_signal(signal.SIGKILL)
        assert not (tmp_path / "f").exists()
        assert list(tmp_path.glob(".lastgood-fetch-*"))
        assert fetch(f"{server.url}/f", tmp_path / "f", wanted=wanted)[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_full_disk_is_unreadable_and_leaves_nothing(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=True)
    try:
        with attacker(lambda request: request.say(body=bytes(10**6))) as server:
            code, out, _ = fetch(f"{server.url}/f", small / "f", wanted=sha256_of(bytes(10**6)))
        assert (code, "ENOSPC" in out, list(small.iterdir())) == (3, True, [])
    finally:
        subprocess.run(["umount", str(small)], check=True)
