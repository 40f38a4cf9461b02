"""The operator under a tracer: it opens nothing outside its store that it need not, and loads no model."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lastgood.verify import digest, manifest_digest
from tests.integration.process import tracing
from tests.integration.world import World, eventually
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY
from tests.servers.samples import entries, s3_fields

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.cluster import Cluster
    from tests.integration.process.tracing import Opened
    from tests.servers.s3 import S3Server

ROOT = Path(__file__).resolve().parents[3]
MODEL_LIBRARY = re.compile(r".*-packages/(torch|tensorflow|keras|jax|sklearn|joblib|safetensors|onnx|numpy)/.*")
PATIENCE = 120.0  # a traced process is slow


class Canary:
    """A pickle that creates a file when somebody loads it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (str(self.path), "w")


def allowed(world: World, scratch: Path) -> dict[str, str]:
    """Return all that the operator may open besides its store: a pattern of paths, and why."""
    places = sysconfig.get_paths()
    python = {*(places[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))}
    source = {str(ROOT / "operator" / "lastgood"), str(ROOT / "operator")}
    programs = {sys.executable, os.path.realpath(sys.executable)}
    kubeconfig = world.operator.kubeconfig or world.cluster.kubeconfig
    return {
        below(*python): "Python's library and the packages that are installed",
        below(*source): "this operator",
        r"/etc/python3[\d.]*/sitecustomize\.py": "Debian's Python",
        exactly(*programs, *beside(programs)): "the interpreter, and where it looks for its library",
        LIBRARIES: "shared libraries, and where the loader finds them",
        exactly(str(Path.cwd())): "the working directory, where `-m` looks for packages",
        r"/etc/(localtime|timezone)|/usr/share/zoneinfo/.*": "the time zone of log lines",
        r"/usr/(lib|share)/locale/.*|/etc/locale\.alias|/usr/lib/[\w/-]*gconv/gconv-modules[\w.]*": "character sets",
        r"/etc/ssl/(openssl\.cnf|certs(/.*)?)|/usr/(local/)?(lib|share)/(ssl|ca-certificates)/.*": "certificates",
        r"/opt/pyca/cryptography/openssl/openssl\.cnf": "where the package cryptography looks for its configuration",
        r"/etc/mime\.types": "the HTTP client's table of media types",
        r"/etc/passwd": "the name of its own user, for the name of this process",
        r"/etc/(resolv\.conf|hosts|host\.conf|nsswitch\.conf|gai\.conf|services|protocols)": "names of hosts",
        exactly(str(kubeconfig)): "how to reach the cluster",
        below(scratch): "the temporary directory, and where remote checkpoints are while scanners look into them",
        r"/proc/(self|\d+)/(statm|stat|status|maps|fd|cgroup|mountinfo)": "itself, and the memory of its children",
        r"/proc/(self|\d+)/limits": "itself: what the metrics library does when it is imported",
        r"/proc/version_signature": "which kernel this is: what the event loop asks when it starts",
        r"/proc/(cpuinfo|meminfo|stat)|/sys/(devices/system/cpu|fs/cgroup)/.*": "how many processors there are",
        r"/proc/sys/vm/overcommit_memory|/sys/kernel/mm/transparent_hugepage/\w+": "memory allocators of libraries",
        r"/dev/(null|urandom)": "nothing, and random numbers",
    }


LIBRARIES = "|".join(
    (
        r"/etc/ld\.so\.(cache|preload)",
        rf"((/usr)?(/local)?|{re.escape(sys.base_prefix)})/lib(64)?/([\w.+-]+/)*lib[\w.+-]+\.so[\w.]*",
    )
)


def beside(programs: set[str]) -> set[str]:
    """Return what an interpreter looks for to find out where it is (the module getpath of Python)."""
    folders = {Path(program).parent for program in programs}
    near = {str(folder / name) for folder in folders for name in ("pyvenv.cfg", "pybuilddir.txt")}
    version = f"{sys.version_info.major}{sys.version_info.minor}"
    zipped = {f"{prefix}/lib/python{version}.zip" for prefix in (sys.prefix, sys.base_prefix)}
    return {*near, *zipped, *(f"{folder.parent}/pyvenv.cfg" for folder in folders), *(f"{it}._pth" for it in programs)}


def below(*folders: str | Path) -> str:
    """Return the pattern of folders and all that is below them."""
    return "|".join(f"{re.escape(str(folder))}(/.*)?" for folder in sorted(map(str, folders)))


def exactly(*paths: str) -> str:
    """Return the pattern of these paths."""
    return "|".join(map(re.escape, sorted(paths)))


def strangers(calls: Sequence[Opened], world: World, scratch: Path) -> list[str]:
    """Return what was opened outside the store that the list does not allow."""
    rules = re.compile("|".join(f"(?:{rule})" for rule in (below(world.store), *allowed(world, scratch))), re.DOTALL)
    return sorted(path for path in paths_of(calls) if not rules.fullmatch(path))


def paths_of(calls: Sequence[Opened]) -> set[str]:
    """Return every path that was asked for or given."""
    return {path for call in calls for path in call.paths}


@pytest.fixture
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="scratch-") as folder:
        yield Path(folder).resolve()


@pytest.fixture
def traced(api: Cluster, tmp_path: Path, scratch: Path) -> Iterator[World]:
    """A world whose operator is traced from its first instruction on, with its children."""
    with World.make(api, tmp_path) as world:
        world.operator.under = tracing.tracer(tmp_path / "trace")
        world.operator.environment = {
            "LASTGOOD_SCRATCH": str(scratch),
            "TMPDIR": str(scratch),
            "LASTGOOD_REVERIFY_INTERVAL": "3s",
        }
        yield world


def checkpoint(world: World, version: str) -> Path:
    """Write a checkpoint whose pickles do no harm, one of them inside a zip as torch.save leaves it."""
    world.weights(version)
    folder = world.store / "digits" / version
    (folder / "labels.pkl").write_bytes(pickle.dumps({"labels": ["zero", version]}))
    (folder / "config.json").write_text('{"model_type": "digits"}')
    with zipfile.ZipFile(folder / "weights.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"layer": [1.0, 2.0]}))
    return folder


def prepare(world: World, outside: Path, canary: bytes) -> None:
    """Write what an attacker with access to the store would: ways out of it, a FIFO, a pickle that executes."""
    outside.mkdir()
    (outside / "secret").write_text("not the store's")
    poisoned = checkpoint(world, "canary")
    (poisoned / "canary.pkl").write_bytes(canary)
    with zipfile.ZipFile(poisoned / "weights.pt", "w") as archive:
        archive.writestr("archive/data.pkl", canary)
    (checkpoint(world, "link") / "more.bin").symlink_to(outside / "secret")
    (world.store / "digits" / "away").symlink_to(outside)
    os.mkfifo(checkpoint(world, "fifo") / "more.bin")


def remote(world: World, s3: S3Server, files: dict[str, bytes]) -> tuple[dict[str, Any], ...]:
    """Put files into a bucket, and return a snapshot of them with the Secret that it needs."""
    s3.put("digits/remote", files)
    keys = {"host": s3.endpoint, "accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bucket"}, "stringData": keys}
    source = s3_fields(s3, "digits/remote")
    source["s3"]["secretRef"] = {"name": "bucket"}
    return secret, world.snapshot("remote", source=source, digest=manifest_digest(entries(files)))


def seen(calls: Sequence[Opened], path: Path) -> bool:
    """Tell whether a file was really opened."""
    return any(call.given == str(path) for call in calls)


def told(world: World, type_: str, name: str) -> str:
    """Wait until something is known of a snapshot, and return the reason of its condition."""

    def found() -> str:
        reason = str(world.condition(type_, kind="modelsnapshot", name=f"digits-v{name}").get("reason", ""))
        return "" if reason in ("Pending", "NotScanned") else reason

    return str(eventually(found, what=f"{type_} of {name} says something", within=PATIENCE))


def test_the_operator_opens_nothing_else_and_loads_no_model(
    traced: World, scratch: Path, tmp_path: Path, s3: S3Server
) -> None:
    world, fired, outside = traced, tmp_path / "fired", tmp_path / "outside"
    canary = pickle.dumps(Canary(fired))
    prepare(world, outside, canary)
    world.apply(
        world.body("ModelTrustPolicy", "scanned", {"models": ["digits"], "scan": {"failOn": "high"}}),
        world.snapshot("canary", digest=digest(world.store / "digits/canary").digest),
        *(world.snapshot(name, digest=f"sha256:{'0' * 64}") for name in ("link", "away", "fifo")),
        *remote(world, s3, {"weights.bin": b"weights elsewhere", "canary.pkl": canary}),
    )
    world.operator.start()
    for version in ("1", "2"):
        world.apply(world.snapshot(version, digest=digest(checkpoint(world, version)).digest), world.workload())
        world.apply(world.deployment(f"digits-v{version}"))
        world.served(f"digits-v{version}", within=PATIENCE)
    assert {told(world, "Scanned", name) for name in ("canary", "remote")} == {"ScanFinding"}
    assert {told(world, "Verified", name) for name in ("canary", "remote")} == {"Verified"}
    assert "Verified" not in {told(world, "Verified", name) for name in ("link", "away", "fifo")}
    world.annotate("modeldeployment/digits", "emergency-rollback", "INC-7: it looks wrong")
    record = world.rollback(within=PATIENCE)
    assert record["status"]["target"]["snapshot"] == "digits-v1"
    assert {world.candidates(record)[f"digits-v{name}"] for name in ("canary", "remote")} == {"ScanFinding"}
    world.operator.stop()

    calls = tracing.opened(tmp_path / "trace")
    assert strangers(calls, world, scratch) == []
    assert not fired.exists(), "no pickle was loaded"
    assert seen(calls, world.store / "digits/canary/canary.pkl"), "it was read all the same"
    assert any(path.startswith(f"{scratch}/") for call in calls for path in call.paths), "the remote one as well"
    assert list(scratch.iterdir()) == [], "and nothing of it is left there"
    assert [path for path in paths_of(calls) if MODEL_LIBRARY.fullmatch(path)] == []
    programs = {call.asked for call in calls if call.call.startswith("exec")}
    assert programs <= {sys.executable, os.path.realpath(sys.executable)}, "it runs no other program"
    assert sum(call.call.startswith("exec") for call in calls) > 1, "its children were traced too"


def test_the_canary_fires_when_somebody_loads_it(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Canary(tmp_path / "fired"))).close()  # noqa: S301  # that it does harm is the point
    assert (tmp_path / "fired").exists()


@pytest.mark.parametrize(
    "program",
    [
        "open('/etc/shadow')",
        "open('there-is-no-such-file')",
        "import os, subprocess, sys; subprocess.run([sys.executable, '-c', \"open('/etc/shadow')\"])",
        "import os; os.open('shadow', os.O_RDONLY, dir_fd=os.open('/usr', os.O_RDONLY))",
        "open('link')",
    ],
    ids=["a file", "one that is not there", "by a child", "below another directory", "by a link"],
)
def test_a_process_that_opens_something_else_is_found(still_world: World, tmp_path: Path, program: str) -> None:
    place = tmp_path / "store"
    (place / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_text("")
    command = [*tracing.tracer(tmp_path / "trace"), sys.executable, "-c", program]
    subprocess.run(command, cwd=place.parent if "no-such" in program else place, check=False, capture_output=True)
    assert strangers(tracing.opened(tmp_path / "trace"), still_world, tmp_path / "scratch")
