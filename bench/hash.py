"""How fast a checkpoint is verified: for the first time and again, beside openssl, sha256sum and model-signing.

All of one run on the same files, in a warm cache, in turns; the median of each. A first verification computes sha256
of every file and, from the same bytes, the BLAKE3 that later ones use. Rates of ours are those of the library, in a
process of its own, without the start of Python; `cli_*` and what it is compared with are whole processes.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))  # started as a script, it finds its neighbours too

from bench.common import circumstances, show, to_stderr
from lastgood.verify import Limits, Verdict, digest, verify

MEANING: Final = {
    "openssl_many_gbps": "baseline: openssl dgst -sha256 on all files, one core",
    "openssl_large_gbps": "baseline: the same on the large file",
    "sha256sum_many_gbps": "baseline: sha256sum on all files, one core",
    "model_signing_many_gbps": "baseline: model_signing verify key, all cores, its start included",
    "first_gbps": "first verification of all files: sha256 and BLAKE3",
    "first_sha256_only_gbps": "the same, recording no BLAKE3",
    "first_ratio": "first verification / (cores x openssl)",
    "first_sha256_only_ratio": "the same, recording no BLAKE3",
    "again_many_gbps": "re-verification of all files",
    "again_gbps": "re-verification of the large file",
    "again_ratio": "re-verification / openssl, on the large file",
    "again_isolated_gbps": "the same in a process of its own, its start included",
    "cli_first_gbps": "lastgood verify on all files, the whole process",
    "openssl_many_cpu_s_per_gb": "processor time for a GB, which depends less on what else the machine does",
    "peak_mb": "peak memory of a verification, Python included, the largest of all",
    "isolated_peak_mb": "the same, with the reading process",
}


class Taken(NamedTuple):
    """Seconds by the clock, and of processor time."""

    seconds: float
    cpu: float


def main(argv: list[str] | None = None) -> int:
    """Measure and print; 1 if a file was not verified."""
    arguments = _parser().parse_args(argv)
    if arguments.one:
        print(json.dumps(one(json.loads(arguments.one))))
        return 0
    before, cores = circumstances(), len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        figures = rates(folder, arguments, cores)
        figures |= growth(folder, arguments.max_files)
    show({**figures, **before, "cores": cores}, as_json=arguments.json, title="Verification", meaning=MEANING)
    return 0


def _parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    found.add_argument("--json", action="store_true", help="print one JSON object")
    found.add_argument("--rounds", type=int, default=5, metavar="N", help="of each (5)")
    found.add_argument("--files", type=int, default=64, metavar="N", help="how many (64)")
    found.add_argument(
        "--mib", type=int, default=32, metavar="N", help="of each file (32); the large one has all of it"
    )
    found.add_argument("--max-files", type=int, default=100_000, metavar="N", help="for how time grows (100000)")
    found.add_argument(
        "--folder", default=None, metavar="DIR", help="where to write (the system's temporary directory)"
    )
    found.add_argument("--one", help=argparse.SUPPRESS)
    return found


def rates(folder: Path, arguments: argparse.Namespace, cores: int) -> dict[str, float | str]:
    """Measure everything in turns, and return rates and ratios."""
    to_stderr(f"writing 2 x {arguments.files * arguments.mib} MiB to {folder}")
    many, large = folder / "many", folder / "large.bin"
    write(many, large, arguments.files, arguments.mib)
    known = {path: digest(path, record_blake3=True) for path in (many, large)}
    peaks: dict[str, list[float]] = {"peak_mb": [], "isolated_peak_mb": []}

    def ours(path: Path, **options: Any) -> Callable[[], Taken]:  # noqa: ANN401 - arguments of verify
        found = known[path]
        request = {"path": str(path), "digest": found.digest, "options": options}
        if options.pop("again", False):
            options["blake3"] = found.blake3

        def run() -> Taken:
            taken, peak = child(request)
            peaks["isolated_peak_mb" if options.get("isolated") else "peak_mb"].append(peak)
            return taken

        return run

    every = [str(file) for file in sorted(many.iterdir())]
    lastgood = [sys.executable, "-m", "lastgood", "verify", str(many), "--digest", known[many].digest]
    work = {
        "openssl_many": process(["openssl", "dgst", "-sha256", *every]),
        "openssl_large": process(["openssl", "dgst", "-sha256", str(large)]),
        "sha256sum_many": process(["sha256sum", *every]),
        "model_signing_many": model_signing(folder, many),
        "first": ours(many),
        "first_sha256_only": ours(many, record_blake3=False),
        "again_many": ours(many, again=True),
        "again": ours(large, again=True),
        "again_isolated": ours(large, again=True, isolated=True),
        "cli_first": process(lastgood),
    }
    taken = in_turns(work, arguments.rounds)
    size = large.stat().st_size / 1e9
    rate = {name: size / each.seconds for name, each in taken.items()}
    cpu = {name: each.cpu / size for name, each in taken.items()}
    return {
        **{f"{name}_gbps": round(value, 3) for name, value in rate.items()},
        "first_ratio": round(rate["first"] / (cores * rate["openssl_many"]), 3),
        "first_sha256_only_ratio": round(rate["first_sha256_only"] / (cores * rate["openssl_many"]), 3),
        "again_ratio": round(rate["again"] / rate["openssl_large"], 2),
        "again_isolated_ratio": round(rate["again_isolated"] / rate["openssl_large"], 2),
        **{
            f"{name}_cpu_s_per_gb": round(cpu[name], 3)
            for name in ("openssl_many", "first", "first_sha256_only", "again")
        },
        **{name: round(max(values), 1) for name, values in peaks.items()},
    }


def write(many: Path, large: Path, files: int, mib: int) -> None:
    """Write random files, and one that is all of them; what was just written is in the cache."""
    many.mkdir()
    with large.open("wb") as whole:
        for number in range(files):
            with (many / f"{number:04}.bin").open("wb") as part:
                for _ in range(mib):
                    block = os.urandom(2**20)
                    part.write(block)
                    whole.write(block)
    os.sync()  # else the disk is busy with them while we measure


def in_turns(work: Mapping[str, Callable[[], Taken]], rounds: int) -> dict[str, Taken]:
    """Do everything once a round, so that a busy minute of the machine hits all alike; return the medians."""
    taken: dict[str, list[Taken]] = {name: [] for name in work}
    for number in range(rounds):
        to_stderr(f"round {number + 1} of {rounds}")
        for name, run in work.items():
            taken[name].append(run())
    return {name: Taken(*map(statistics.median, zip(*each, strict=True))) for name, each in taken.items()}


def processor_time() -> float:
    """Return what this process and those that it started have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def process(command: list[str]) -> Callable[[], Taken]:
    """Return what runs a command, and says how long it took."""

    def run() -> Taken:
        began, used = time.perf_counter(), processor_time()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return Taken(time.perf_counter() - began, processor_time() - used)

    return run


def model_signing(folder: Path, many: Path) -> Callable[[], Taken]:
    """Sign with model-signing, and return what verifies it."""
    key, public, bundle = folder / "key.pem", folder / "public.pem", folder / "model.sig"
    process(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(key)])()
    process(["openssl", "ec", "-in", str(key), "-pubout", "-out", str(public)])()
    base = [sys.executable, "-m", "model_signing"]
    process([*base, "sign", "key", str(many), "--private_key", str(key), "--signature", str(bundle)])()
    return process([*base, "verify", "key", str(many), "--signature", str(bundle), "--public_key", str(public)])


def child(request: Mapping[str, Any]) -> tuple[Taken, float]:
    """Verify in a new process; return how long it took, and its peak memory in MB with that of its own child."""
    command = [sys.executable, __file__, "--one", json.dumps(request)]
    answer = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return Taken(answer["seconds"], answer["cpu"]), answer["peak_mb"]


def one(request: Mapping[str, Any]) -> dict[str, float]:
    """Verify once, in this process."""
    limits, used = Limits(max_files=10**6), processor_time()
    result = verify(Path(request["path"]), ".", request["digest"], limits=limits, **request["options"])
    if result.verdict is not Verdict.VERIFIED:
        raise SystemExit(result.message)
    cpu = processor_time() - used
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    peak = sum(resource.getrusage(each).ru_maxrss for each in who) / 1024
    return {"seconds": result.seconds, "cpu": cpu, "peak_mb": peak}


def growth(folder: Path, most: int) -> dict[str, float | str]:
    """Return the seconds for 1, 10, 100 … files of 1 KiB each, for the first time and again."""
    figures: dict[str, float | str] = {}
    root, count, wanted = folder / "small", 0, 1
    while wanted <= most:
        to_stderr(f"{wanted} files")
        for number in range(count, wanted):
            path = root / f"{number // 1000:04}" / f"{number:06}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(1024))
        count = wanted
        found = digest(root, limits=Limits(max_files=10**6), record_blake3=True)
        request = {"path": str(root), "digest": found.digest}
        first, peak = child({**request, "options": {}})
        again, _ = child({**request, "options": {"blake3": found.blake3}})
        figures[f"files_{count}_first_s"], figures[f"files_{count}_again_s"] = first.seconds, again.seconds
        figures[f"files_{count}_peak_mb"] = round(peak, 1)
        wanted *= 10
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}


if __name__ == "__main__":
    sys.exit(main())
