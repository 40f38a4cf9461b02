# ruff: noqa: INP001  - next to the page that it goes into, not a package
"""What each term of the pages and messages means: one term for one thing, for docs/reference.md."""

GLOSSARY: dict[str, str] = {
    "alert": "A Warning Event and a line with `severity: alert` in the security log.",
    "binding": "A field of the workload that a ModelDeployment writes: an environment variable, an image or an "
    "annotation "
    "of the pod template. A **bound field** is the field, its **value** comes from the snapshot.",
    "candidate": "A snapshot of the model that a rollback considers. The record lists each with a verdict: chosen, not "
    "needed or passed over (skipped), and the reason.",
    "capture": "A copy of a verified snapshot in the snapshot store.",
    "check": "One HTTP query with a success condition, run after a switch (`spec.validation.checks`).",
    "copy": "One place of the bytes: the source, a mirror or a capture. All copies have the same digest.",
    "current snapshot": "The snapshot that the workload serves now (`status.snapshot`). A rollback replaces it.",
    "desired snapshot": "The snapshot in `spec.snapshot`.",
    "digest": "The SHA-256 that names the bytes of a snapshot. `lastgood digest` prints it.",
    "drift": "A bound field was overwritten by another field manager. The operator restores it.",
    "emergency": "A rollback that switches first where it may, accepts a target without a soak, and quarantines the "
    "current snapshot.",
    "evidence": "A copy of the files of a quarantined snapshot, kept for the investigation.",
    "fallback": "The target that a rollback would have now (`status.fallback`, column `FALLBACK`).",
    "hold": "The desired snapshot is not deployed, because a rollback replaced it. Ends when `spec.snapshot` names "
    "another "
    "one, or with `lastgood.dev/resume`.",
    "intent": "The chosen target, recorded before the switch. After a crash, the operator continues from it.",
    "known good": "It served this ModelDeployment and completed its soak.",
    "lock": "`status.activeRollback`: one rollback at a time for each ModelDeployment.",
    "obstacle": "A write that the API server refuses, or a right that is missing. The operator retries; it says "
    "nothing "
    "about the snapshot.",
    "quarantine": "A block on a digest: nothing deploys it, and a workload that serves it rolls back.",
    "record": "A ModelRollback: the request, the candidates, each step with its time, and the outcome.",
    "rejected": "A rollback replaced this digest because it was bad (`status.left`). It is deployed or chosen again "
    "only "
    "by name (`to=`), or after `lastgood.dev/resume`.",
    "scan": "A search of the files for code, hidden content and formats. Findings have a severity.",
    "snapshot store": "The volume of the operator with `source.store` snapshots, captures and evidence.",
    "soak": "The time that a snapshot must serve and stay healthy to be known good (`rollback.knownGood.soak`).",
    "switch": "The one server-side apply that writes all bound fields of a snapshot to the workload.",
    "target": "The snapshot that a rollback goes to.",
    "trigger": "A signal that is evaluated while a snapshot serves. It fires after `failureThreshold` breaches in a "
    "row.",
    "trust policy": "A ModelTrustPolicy or ClusterModelTrustPolicy: signers, scans, formats, images and revocations.",
    "verdict": "The result of a trigger or a check: Healthy, Breached or Inconclusive. **No data** means Inconclusive.",
    "verified": "All bytes of a copy were read and have the declared digest.",
    "workload": "The Deployment that serves the model (`spec.targetRef`).",
}
