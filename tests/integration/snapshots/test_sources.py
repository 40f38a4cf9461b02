"""Checkpoints in a real S3 store, a real registry and behind a URL: right, wrong, or not to be read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
import pytest

from lastgood.verify import Limits, UnreadableError, Verdict
from lastgood.verify.sources import Credentials, LocalSource, first_good, source_of, verify_source
from tests.servers.registry import PASSWORD, USER, digest_of
from tests.servers.s3 import SECRET_KEY
from tests.servers.samples import (
    DIGEST,
    FILES,
    KNOWN,
    access,
    raw,
    s3_fields,
    s3_keys,
    sha256_of,
    tar_of,
    titled,
)

if TYPE_CHECKING:
    from lastgood.verify.sources import Source
    from tests.servers.registry import RegistryServer
    from tests.servers.s3 import S3Server

INDEX = "application/vnd.oci.image.index.v1+json"
WEIGHT = "application/vnd.cncf.model.weight.v1"
SHARD = "shards/1/model.safetensors"


def s3_source(server: S3Server, prefix: str, **keys: str) -> Source:
    return source_of(s3_fields(server, prefix), access(s3_keys(server.endpoint, **keys)))


def oci_source(reference: str, *credentials: Credentials) -> Source:
    return source_of({"oci": {"reference": reference}}, access(*credentials))


def stored(server: S3Server, prefix: str, **changed: bytes) -> Source:
    server.put(prefix, {**FILES, **changed})
    return s3_source(server, prefix)


def test_a_directory_and_a_file_in_s3_are_verified(s3: S3Server) -> None:
    directory = stored(s3, "digits/1")
    file = s3_source(s3, f"digits/1/{SHARD}")
    assert verify_source(directory, DIGEST).verdict is Verdict.VERIFIED
    assert verify_source(directory, DIGEST).files == KNOWN
    assert verify_source(file, sha256_of(FILES[SHARD])).verdict is Verdict.VERIFIED


def test_a_byte_that_a_thief_changed_on_the_stores_disk_is_found(s3: S3Server) -> None:
    source = stored(s3, "digits/tampered")
    path = s3.bucket / "digits/tampered" / SHARD
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    result = verify_source(source, DIGEST, known=KNOWN)
    assert result.verdict is Verdict.MISMATCH
    assert result.findings == (f"{SHARD} is changed (it had 350000 bytes and has 350000)",)


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        pytest.param({"extra.py": b"import os"}, "extra.py is extra", id="an extra file"),
        pytest.param({"config.json": b"{}"}, "config.json is changed (it had 24 bytes and has 2)", id="shortened"),
    ],
)
def test_what_somebody_put_into_the_bucket_is_named(s3: S3Server, change: dict[str, bytes], finding: str) -> None:
    source = stored(s3, f"digits/{len(finding)}", **change)
    result = verify_source(source, DIGEST, known=KNOWN)
    assert (result.verdict, result.findings) == (Verdict.MISMATCH, (finding,))


def test_a_missing_file_is_named_and_a_missing_checkpoint_is_unreadable(s3: S3Server) -> None:
    source = stored(s3, "digits/missing")
    s3.delete("digits/missing/config.json")
    assert verify_source(source, DIGEST, known=KNOWN).findings == ("config.json is missing",)
    result = verify_source(s3_source(s3, "digits/never"), DIGEST)
    assert result.verdict is Verdict.UNREADABLE
    assert "has no objects" in result.message


def test_an_object_swapped_between_listing_and_reading_is_unreadable(s3: S3Server) -> None:
    source = stored(s3, "digits/swapped")
    listed = source.entries(Limits())
    s3.put("digits/swapped", {SHARD: b"WEIGHTS" * 50_000})
    with pytest.raises(UnreadableError, match="changed"):
        list(source.read(next(entry for entry in listed if entry.path == SHARD)))


def test_an_object_swapped_while_others_are_read_is_not_called_tampered(s3: S3Server) -> None:
    source = stored(s3, "digits/swapping")
    swapped: list[int] = []

    def swap(read: int) -> None:
        if not swapped:
            swapped.append(read)
            s3.put("digits/swapping", {SHARD: b"WEIGHTS" * 50_000})

    result = verify_source(source, DIGEST, progress=swap)
    assert result.verdict is Verdict.UNREADABLE
    assert "changed" in result.message or "version" in result.message


def test_a_file_that_appears_while_others_are_read_is_noticed(s3: S3Server) -> None:
    source = stored(s3, "digits/growing")
    result = verify_source(source, DIGEST, progress=lambda _: s3.put("digits/growing", {"late.bin": b"x"}))
    assert result.verdict is Verdict.UNREADABLE
    assert "late.bin changed while the checkpoint was read" in result.message


@pytest.mark.parametrize("wrong", [{"secret_access_key": "wr0ng-secret"}, {"access_key_id": "n0b0dy"}])
def test_wrong_keys_are_unreadable_and_never_shown(s3: S3Server, wrong: dict[str, str]) -> None:
    stored(s3, "digits/1")
    source = s3_source(s3, "digits/1", **wrong)
    result = verify_source(source, DIGEST)
    assert result.verdict is Verdict.UNREADABLE
    told = repr(result) + repr(source) + source.describe()
    assert "(403)" in result.message or "(404)" in result.message  # what this store says of an unknown key
    assert not any(secret in told for secret in ("wr0ng", "n0b0dy", SECRET_KEY))


def test_a_listing_of_many_pages_is_read_to_its_end_and_bounded(s3: S3Server) -> None:
    folder = s3.bucket / "many"
    folder.mkdir()
    files = {f"{number:05}.bin": b"%d" % number for number in range(2_500)}
    for path, content in files.items():
        (folder / path).write_bytes(content)
    source = s3_source(s3, "many")
    assert [entry.path for entry in source.entries(Limits())] == sorted(files)
    with pytest.raises(UnreadableError, match="more files than max_files allows, 2000"):
        source.entries(Limits(max_files=2_000))
    with pytest.raises(UnreadableError, match="max_bytes allows 1000"):
        source.entries(Limits(max_bytes=1_000))


def test_an_object_with_objects_below_it_is_refused_and_a_marker_of_a_directory_is_not(s3: S3Server) -> None:
    source = stored(s3, "digits/marked")
    obstore.put(s3.store(), "other", b"x")
    (s3.bucket / "digits/marked/empty").mkdir()
    assert verify_source(source, DIGEST).verdict is Verdict.VERIFIED


def test_a_model_pack_and_a_plain_artifact_are_the_same_checkpoint(registry: RegistryServer) -> None:
    some = dict(list(FILES.items())[1:])
    artifacts = {
        "raw": [(content, raw(path)) for path, content in FILES.items()],
        "plain": [(content, titled(path)) for path, content in FILES.items()],
        "tar": [(FILES["config.json"], raw("config.json")), (tar_of(some), {"mediaType": f"{WEIGHT}.tar"})],
        "gzip": [
            (FILES["config.json"], raw("config.json")),
            (tar_of(some, "w:gz"), {"mediaType": f"{WEIGHT}.tar+gzip"}),
        ],
    }
    for name, layers in artifacts.items():
        result = verify_source(oci_source(registry.push(f"models/{name}", layers)), DIGEST)
        assert (result.verdict, result.files) == (Verdict.VERIFIED, KNOWN), name


def test_listing_and_reading_one_file_of_a_tar_gives_its_bytes(registry: RegistryServer) -> None:
    source = oci_source(registry.push("models/listed", [(tar_of(FILES, "w:gz"), {"mediaType": f"{WEIGHT}.tar+gzip"})]))
    listed = source.entries(Limits())
    assert [entry.path for entry in listed] == sorted(FILES)
    assert all(b"".join(source.read(entry)) == FILES[entry.path] for entry in listed)


@pytest.mark.parametrize("form", ["raw", "tar", "tar+gzip"])
def test_a_blob_changed_on_the_registrys_disk_is_tampered_in_every_form(registry: RegistryServer, form: str) -> None:
    content = {"raw": FILES[SHARD], "tar": tar_of(FILES), "tar+gzip": tar_of(FILES, "w:gz")}[form] + b"\0"
    if form == "tar+gzip":
        content = content[:-1]
    fields = raw(SHARD) if form == "raw" else {"mediaType": f"{WEIGHT}.{form}"}
    source = oci_source(registry.push(f"models/changed-{form[:3]}{len(form)}", [(content, fields)]))
    path = registry.blob_file(content)
    changed = bytearray(path.read_bytes())
    changed[len(changed) // 2] ^= 1
    path.write_bytes(changed)
    result = verify_source(source, DIGEST)
    assert result.verdict is Verdict.MISMATCH
    assert "and the manifest names sha256:" in result.message


def test_a_truncated_blob_is_unreadable_and_a_missing_one_too(registry: RegistryServer) -> None:
    content = b"truncated" * 1000
    source = oci_source(registry.push("models/truncated", [(content, raw("a.bin"))]))
    registry.blob_file(content).write_bytes(content[:-1])
    assert verify_source(source, DIGEST).verdict is Verdict.UNREADABLE
    registry.blob_file(content).unlink()
    result = verify_source(source, DIGEST)
    assert (result.verdict, "(404)" in result.message) == (Verdict.UNREADABLE, True)


def test_a_manifest_changed_on_the_registrys_disk_is_tampered(registry: RegistryServer) -> None:
    reference = registry.push("models/manifest", [(b"one", raw("a.bin"))])
    body = registry.blob_file_of(reference).read_bytes()
    registry.blob_file_of(reference).write_bytes(body.replace(b"a.bin", b"b.bin"))
    result = verify_source(oci_source(reference), DIGEST)
    assert result.verdict is Verdict.MISMATCH
    assert "the reference names sha256:" in result.message


def test_a_layer_that_the_registry_swapped_for_another_is_tampered(registry: RegistryServer) -> None:
    good, evil = b"good" * 100, b"evil" * 100
    source = oci_source(registry.push("models/swapped", [(good, raw("a.bin"))]))
    registry.blob_file(good).write_bytes(evil)
    result = verify_source(source, DIGEST)
    assert (result.verdict, result.findings[0].startswith("a.bin is sha256:")) == (Verdict.MISMATCH, True)


def test_a_private_registry_gets_the_right_name_and_nobody_else(private_registry: RegistryServer) -> None:
    reference = private_registry.push("models/private", [(FILES[path], raw(path)) for path in FILES])
    host = f"http://{private_registry.host}"
    right = Credentials(host=host, username=USER, password=PASSWORD)
    wrong = Credentials(host=host, username=USER, password="wr0ng-password")
    assert verify_source(oci_source(reference, right), DIGEST).verdict is Verdict.VERIFIED
    for refused in (oci_source(reference), oci_source(reference, wrong)):
        result = verify_source(refused, DIGEST)
        assert (result.verdict, "(401)" in result.message) == (Verdict.UNREADABLE, True)
        assert "wr0ng" not in repr(result) + repr(refused)


@pytest.mark.parametrize(
    ("layers", "more", "expected"),
    [
        pytest.param([(b"x", {"mediaType": f"{WEIGHT}.tar+zstd"})], {}, "packed as tar+zstd", id="zstd"),
        pytest.param([(b"x", raw("a", f"{WEIGHT}.raw+lzma"))], {}, "packed as raw+lzma", id="lzma"),
    ],
)
def test_what_is_not_read_is_unreadable(
    registry: RegistryServer, layers: Any, more: dict[str, Any], expected: str
) -> None:
    result = verify_source(oci_source(registry.push("models/unsupported", layers, **more)), DIGEST)
    assert result.verdict is Verdict.UNREADABLE
    assert expected in result.message


def test_an_index_is_unreadable_and_says_what_to_name(registry: RegistryServer) -> None:
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
    reference = registry.push_manifest("models/index", json.dumps(index).encode(), INDEX)
    result = verify_source(oci_source(reference), DIGEST)
    assert (result.verdict, "names an index" in result.message) == (Verdict.UNREADABLE, True)


def test_a_gzip_bomb_in_a_layer_ends_at_its_limit(registry: RegistryServer) -> None:
    bomb = tar_of({"zeros.bin": bytes(300 * 2**20)}, "w:gz")
    source = oci_source(registry.push("models/bomb", [(bomb, {"mediaType": f"{WEIGHT}.tar+gzip"})]))
    for limits in (Limits(), Limits(max_bytes=10**6)):
        result = verify_source(source, DIGEST, limits=limits)
        assert result.verdict is Verdict.UNREADABLE
        assert "max_bytes allows 1000000" in result.message or "100 times its size" in result.message


def test_a_bad_first_copy_and_a_destroyed_second_are_passed_over_and_told(
    s3: S3Server, registry: RegistryServer
) -> None:
    bad = stored(s3, "mirrors/bad", **{"config.json": b"evil"})
    gone = oci_source(f"{registry.host}/models/gone@{digest_of(b'gone')}")
    good = oci_source(registry.push("models/good", [(content, raw(path)) for path, content in FILES.items()]))
    choice = first_good([bad, gone, good], DIGEST, known=KNOWN)
    assert (choice.index, choice.result.verdict) == (2, Verdict.VERIFIED)
    assert [(passed.index, passed.result.verdict) for passed in choice.passed_over] == [
        (0, Verdict.MISMATCH),
        (1, Verdict.UNREADABLE),
    ]
    assert [passed.where for passed in choice.passed_over] == [bad.describe(), gone.describe()]


def test_without_a_good_copy_all_are_told_and_cannot_read_wins(s3: S3Server, tmp_path: Path) -> None:
    bad = stored(s3, "mirrors/bad", **{"config.json": b"evil"})
    gone = LocalSource(root=tmp_path, relative="gone")
    both, only_bad = first_good([bad, gone], DIGEST), first_good([bad, bad], DIGEST)
    assert (both.index, both.result.verdict) == (None, Verdict.UNREADABLE)
    assert "DigestMismatch" in both.result.message
    assert "Unreadable" in both.result.message
    assert only_bad.result.verdict is Verdict.MISMATCH


def test_a_local_directory_is_a_source_like_the_others(tmp_path: Path) -> None:
    for path, content in FILES.items():
        (tmp_path / "digits" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "digits" / path).write_bytes(content)
    source = LocalSource(root=tmp_path, relative="digits")
    assert verify_source(source, DIGEST).verdict is Verdict.VERIFIED
    (tmp_path / "digits/link").symlink_to("/etc/passwd")
    assert verify_source(source, DIGEST).verdict is Verdict.MISMATCH


def test_somebody_who_stops_it_gets_an_unreadable_result(s3: S3Server) -> None:
    read: list[int] = []
    result = verify_source(stored(s3, "digits/1"), DIGEST, progress=read.append, cancelled=lambda: bool(read))
    assert (result.verdict, "stopped" in result.message) == (Verdict.UNREADABLE, True)


MEASURE = """
import json, sys
from pathlib import Path
from lastgood.verify.sources import source_of, verify_source, Credentials
from tests.servers.samples import access
fields, credentials, digest = json.loads(sys.argv[1])
given = [Credentials(**credentials)] if credentials else []
result = verify_source(source_of(fields, access(*given)), digest)
# Not ru_maxrss: that of a new process begins with the peak of the one that started it.
peak = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
print(json.dumps([result.verdict, result.message, int(peak), result.seconds]))
"""


def test_memory_stays_small_whatever_the_size(s3: S3Server, registry: RegistryServer) -> None:
    size = 256 * 2**20
    path = s3.bucket / "large.bin"
    with path.open("wb") as file:
        file.truncate(size)  # zeros that take no room on the disk
    gzipped = tar_of({"zeros.bin": bytes(size), "noise.bin": os.urandom(2**22)}, "w:gz")
    reference = registry.push("models/large", [(gzipped, {"mediaType": f"{WEIGHT}.tar+gzip"})])
    keys = {"host": s3.endpoint, "access_key_id": "tester", "secret_access_key": SECRET_KEY}
    for fields, credentials in (
        (s3_fields(s3, "large.bin"), keys),
        ({"oci": {"reference": reference}}, None),
    ):
        asked = json.dumps([fields, credentials, sha256_of(bytes(size)) if credentials else DIGEST])
        done = subprocess.run([sys.executable, "-c", MEASURE, asked], check=True, capture_output=True, text=True)
        verdict, message, kilobytes, _ = json.loads(done.stdout)
        assert verdict == ("Verified" if credentials else "DigestMismatch"), message
        assert kilobytes < 150 * 1024
