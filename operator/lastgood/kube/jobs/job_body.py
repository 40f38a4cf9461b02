"""What a Job is told: which image, which command, and what of the namespace it may see."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from lastgood.api.names import ANCHORS_VARIABLE, API_VERSION, FIELD_MANAGER, GROUP
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.api.specs.sources import PvcSource
from lastgood.errors import LastgoodError
from lastgood.settings import Settings

Body = dict[str, Any]

DEADLINE_SECONDS: Final = 3600
_TTL_SECONDS: Final = 600
NONCE_LABEL: Final = f"{GROUP}/nonce"
CONTAINER: Final = "verify"
EVIDENCE_JOB: Final = "evidence-job"
TERMINATION_LOG: Final = "/dev/termination-log"


@dataclass(frozen=True, kw_only=True)
class Errand:
    """What a Job is asked beside the digest.

    Attributes:
        arguments: further options of the command.
        anchors: the keys and roots to look for, as `lastgood.kube.jobs.claims` writes them.
        bundles: (ConfigMap, key) of signature bundles, which are mounted as /bundles/0/bundle and so on.
        command: the hidden command of ours that the Job runs.
        store: a claim that is mounted at /store, to be written to; the only one that ever is.
    """

    arguments: tuple[str, ...] = ()
    anchors: str = ""
    bundles: tuple[tuple[str, str], ...] = ()
    command: str = "verify-job"
    store: str = ""


NO_MORE: Final = Errand()
_NO_LABELS: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Which bytes a Job is asked about, and by which question.

    Attributes:
        namespace: where the snapshot, its claim and the Job are.
        snapshot: the name of the snapshot, which owns the Job.
        uid: the snapshot's.
        claim: the claim that is mounted read-only.
        path: where on it the checkpoint is.
        digest: what it should be, `sha256:` and 64 hex digits.
        nonce: what tells this question's answer from every other.
    """

    namespace: str
    snapshot: str
    uid: str
    claim: str
    path: str
    digest: str
    nonce: str

    @classmethod
    def of(cls, snapshot: ModelSnapshot, source: PvcSource, nonce: str) -> Self:
        """Return what a snapshot says, where one of its copies is on a claim."""
        return cls(
            namespace=snapshot.meta.namespace,
            snapshot=snapshot.meta.name,
            uid=snapshot.meta.uid,
            claim=source.claim,
            path=source.path,
            digest=snapshot.digest,
            nonce=nonce,
        )


class NotAnsweredError(LastgoodError):
    """The Job gave no answer that counts; nothing is known about the bytes."""


def job_body(settings: Settings, subject: Subject, errand: Errand = NO_MORE) -> Body:
    """Return the Job.

    Raises:
        NotAnsweredError: the operator does not know which image to start.
    """
    if settings.image is None:
        raise NotAnsweredError("the operator cannot start a Job: set LASTGOOD_IMAGE (--image) to the operator's image")
    return job_of(subject, errand.command, _pod(settings, subject.claim, _arguments(subject, errand), errand))


def job_of(subject: Subject, command: str, pod: Body, labels: Mapping[str, str] = _NO_LABELS) -> Body:
    """Return the Job that runs a pod once; the snapshot owns it, so that they go together.

    Nobody owns a copy of the evidence: whoever tampered with a snapshot and deletes it must not end that.
    """
    owner = {"apiVersion": API_VERSION, "kind": "ModelSnapshot", "name": subject.snapshot, "uid": subject.uid}
    ours = {"app.kubernetes.io/managed-by": FIELD_MANAGER, NONCE_LABEL: short(subject.nonce), **labels}
    name = job_name(subject.uid, subject.nonce, command)
    return {
        "metadata": {"name": name, "labels": ours, "ownerReferences": [] if command == EVIDENCE_JOB else [owner]},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": DEADLINE_SECONDS,
            "ttlSecondsAfterFinished": _TTL_SECONDS,
            "template": {"metadata": {"labels": ours}, "spec": pod},
        },
    }


def job_name(uid: str, nonce: str, command: str = NO_MORE.command) -> str:
    """Return a name that is new for each nonce, and says nothing that is not in the snapshot."""
    return f"lastgood-{command.removesuffix('-job')}-{hashlib.sha256(uid.encode()).hexdigest()[:16]}-{short(nonce)}"


def short(nonce: str) -> str:
    """Return what of a nonce fits a name and a label."""
    return hashlib.sha256(nonce.encode()).hexdigest()[:12]


def _arguments(subject: Subject, errand: Errand) -> list[str]:
    where = ["--root", "/data", "--path", subject.path]
    what = ["--digest", subject.digest, "--nonce", subject.nonce]
    return [errand.command, *where, *what, *errand.arguments, "--termination-log", TERMINATION_LOG]


def _pod(settings: Settings, claim: str, arguments: list[str], errand: Errand) -> Body:
    container: Body = {
        "name": CONTAINER,
        "image": settings.image,
        "imagePullPolicy": settings.pull_policy,
        "args": arguments,
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
        "volumeMounts": [
            {"name": "data", "mountPath": "/data", "readOnly": True},
            *([{"name": _store_volume(claim, errand), "mountPath": "/store"}] if errand.store else []),
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  # an empty volume of the pod
            *({"name": f"bundle-{n}", "mountPath": f"/bundles/{n}", "readOnly": True} for n in _numbers(errand)),
        ],
    }
    if errand.anchors:
        container["env"] = [{"name": ANCHORS_VARIABLE, "value": errand.anchors}]
    volumes = [
        *_claims(claim, errand),
        {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        *(_bundle_volume(number, *errand.bundles[number]) for number in _numbers(errand)),
    ]
    return pod_of(container, volumes)


def pod_of(container: Body, volumes: Sequence[Body]) -> Body:
    """Return a pod whose container can do nothing but read what it is given, and say something at its end."""
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                **container,
                "terminationMessagePath": TERMINATION_LOG,
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
        "volumes": list(volumes),
    }


def _claims(claim: str, errand: Errand) -> list[Body]:
    """Return the volumes of the claims; one claim twice in a pod is more than some drivers can mount."""
    data: Body = {"claimName": claim, "readOnly": errand.store != claim}
    volumes: list[Body] = [{"name": "data", "persistentVolumeClaim": data}]
    if errand.store not in ("", claim):
        volumes.append({"name": "store", "persistentVolumeClaim": {"claimName": errand.store}})
    return volumes


def _store_volume(claim: str, errand: Errand) -> str:
    return "data" if errand.store == claim else "store"


def _numbers(errand: Errand) -> range:
    return range(len(errand.bundles))


def _bundle_volume(number: int, name: str, key: str) -> Body:
    items = [{"key": key, "path": "bundle"}]
    return {"name": f"bundle-{number}", "configMap": {"name": name, "items": items, "optional": True}}
