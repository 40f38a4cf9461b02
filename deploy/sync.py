# ruff: noqa: INP001  - a script next to what it writes, not a package
"""Writes what is derived: the chart's copies of the CRDs, and the kustomize bases from the rendered chart.

`python deploy/sync.py [--helm PATH]` writes, `--check` only says which copies of the CRDs differ, without Helm.
The sources are `crds/` and `charts/lastgood/`; tests run the same functions, so that a copy cannot be forgotten.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "charts" / "lastgood"
BASE = ROOT / "deploy" / "base"
NAMESPACE = "lastgood-system"
NOTE = "# Written by `python deploy/sync.py`: change the source, {source}, and run it again.\n"
# What only Helm reads, and what would say that Helm manages an object that kustomize applied.
HELM_LABELS = ("helm.sh/chart", "app.kubernetes.io/managed-by")
HELM_ANNOTATIONS = ("helm.sh/resource-policy",)
Manifest = dict[str, Any]


def crds() -> dict[str, str]:
    """Return the text of each CRD by its file name."""
    return {path.name: path.read_text() for path in sorted((ROOT / "crds").glob("*.yaml"))}


def chart_crd(name: str, text: str) -> str:
    """Return a CRD as a template: switched by a value, kept on uninstall, and safe from the template language."""
    plain = without_comments(text).replace("{{", '{{ "{{" }}')
    kept = plain.replace("\nmetadata:\n", "\nmetadata:\n  annotations:\n    helm.sh/resource-policy: keep\n", 1)
    note = NOTE.format(source=f"crds/{name}")
    return f"{note}{{{{- if .Values.crds.install }}}}\n{kept}{{{{- end }}}}\n"


def without_comments(text: str) -> str:
    """Return YAML text without the lines that are comments."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.lstrip().startswith("#"))


def rendered(helm: str, *arguments: str) -> list[Manifest]:
    """Return the objects of the chart, without its CRDs and without Helm's marks."""
    argv = [helm, "template", "lastgood", str(CHART), "--namespace", NAMESPACE, "--set", "crds.install=false"]
    done = subprocess.run([*argv, *arguments], check=True, capture_output=True, text=True)  # noqa: S603 - the caller's Helm
    return [unmarked(manifest) for manifest in yaml.safe_load_all(done.stdout) if manifest]


def unmarked(manifest: Manifest) -> Manifest:
    """Return an object without Helm's labels and annotations."""
    templates = [manifest["metadata"], manifest.get("spec", {}).get("template", {}).get("metadata", {})]
    for metadata in templates:
        for key, names in (("labels", HELM_LABELS), ("annotations", HELM_ANNOTATIONS)):
            left = {name: value for name, value in metadata.get(key, {}).items() if name not in names}
            metadata.pop(key, None)
            if left:
                metadata[key] = left
    return manifest


def base_crd(name: str, text: str) -> str:
    """Return a CRD as deploy/base has it: the same, with a note in the place of its comments."""
    return NOTE.format(source=f"crds/{name}") + without_comments(text)


def cluster_wide(helm: str) -> list[Manifest]:
    """Return what it takes besides deploy/base to watch every namespace."""
    manifests, base = rendered(helm, "--set", "watch.all=true", "--set", "rbac.userRoles=false"), rendered(helm)
    named = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in base}
    return [
        manifest
        for manifest in manifests
        if (manifest["kind"].startswith("Cluster") and manifest not in base)
        or (manifest["kind"].startswith("Role") and (manifest["kind"], manifest["metadata"]["name"]) not in named)
    ]


def dump(manifests: list[Manifest]) -> str:
    """Return YAML text of objects, in the order given."""
    return NOTE.format(source="charts/lastgood") + yaml.safe_dump_all(manifests, sort_keys=False, width=110)


def derived(helm: str | None) -> dict[Path, str]:
    """Return every derived file with the text it should have; without Helm, only the copies of the CRDs."""
    files = {CHART / "templates" / "crds" / name: chart_crd(name, text) for name, text in crds().items()}
    files |= {BASE / name: base_crd(name, text) for name, text in crds().items()}
    if helm:
        files |= {BASE / "operator.yaml": dump(rendered(helm))}
        files |= {ROOT / "deploy" / "all-namespaces" / "rbac.yaml": dump(cluster_wide(helm))}
    return files


def differences(helm: str | None) -> list[Path]:
    """Return the derived files whose text is not what it should be."""
    return [path for path, text in derived(helm).items() if not path.exists() or path.read_text() != text]


def write(helm: str | None) -> None:
    """Write what differs, and say so."""
    for path in differences(helm):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(derived(helm)[path])
        sys.stdout.write(f"wrote {path.relative_to(ROOT)}\n")


def main() -> int:
    """Write the derived files, or check them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--helm", default=shutil.which("helm"), help="the Helm program (default: the one in PATH)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a copy of a CRD differs")
    options = parser.parse_args()
    if not options.check:
        if not options.helm:
            parser.error("no helm in PATH: name one with --helm, or use `make sync`, which builds it")
        write(options.helm)
        return 0
    # The same everywhere: what Helm renders is compared by tests/integration/installed/test_chart.py, which has it.
    stale = differences(helm=None)
    sys.stdout.writelines(f"differs: {path.relative_to(ROOT)}\n" for path in stale)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
