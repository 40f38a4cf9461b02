"""The words that users, dashboards and other programs rely on; changing one is an API change."""

from enum import StrEnum
from typing import NewType, TypeVar

GROUP = "lastgood.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
FIELD_MANAGER = "lastgood"
ANCHORS_VARIABLE = "LASTGOOD_ANCHORS"

OPT_IN_LABEL = f"{GROUP}/model-deployment"
BINDABLE = f"{GROUP}/bindable"
DEPLOYMENT_LABEL = f"{GROUP}/deployment"
SCANNER_LABEL = f"{GROUP}/scanner"

ROLLBACK = f"{GROUP}/rollback"
EMERGENCY = f"{GROUP}/emergency-rollback"
QUARANTINE = f"{GROUP}/quarantine"
RESUME = f"{GROUP}/resume"
PIN = f"{GROUP}/pin"
INTENT = f"{GROUP}/intent"

SNAPSHOT_STAMP = f"{GROUP}/snapshot"
DIGEST_STAMP = f"{GROUP}/digest"

QUARANTINE_CONFIG_MAP = "lastgood-quarantine"
REMEMBERED_CONFIG_MAP = "lastgood-remembered-"  # and the namespace, and a number

Digest = NewType("Digest", str)
SnapshotName = NewType("SnapshotName", str)
RecordName = NewType("RecordName", str)
Word = TypeVar("Word", bound=StrEnum)
Default = TypeVar("Default")


def known(words: type[Word], text: str, otherwise: Default) -> Word | Default:
    """Return a text as one of our words; of a text that is none, or is not known yet, what is said otherwise."""
    try:
        return words(text)
    except ValueError:
        return otherwise


class Type(StrEnum):
    """Condition types."""

    VERIFIED = "Verified"
    SIGNED = "Signed"
    SCANNED = "Scanned"
    QUARANTINED = "Quarantined"
    RESTORABLE = "Restorable"
    READY = "Ready"
    HEALTHY = "Healthy"
    PROTECTED = "Protected"
    PROGRESSING = "Progressing"
    ROLLED_BACK = "RolledBack"
    KNOWN_GOOD_AVAILABLE = "KnownGoodAvailable"
    GITOPS_CONFLICT = "GitOpsConflict"
    OPTED_IN = "OptedIn"
    STALLED = "Stalled"
    COMPLETED = "Completed"


class Reason(StrEnum):
    """One word for each thing that happens: the same in conditions, events, logs and records."""

    # Snapshots
    VERIFIED = "Verified"
    PENDING = "Pending"
    DIGEST_MISMATCH = "DigestMismatch"
    UNREADABLE = "Unreadable"
    QUARANTINED = "Quarantined"
    NOT_QUARANTINED = "NotQuarantined"
    READ_WHOLE = "ReadWhole"
    CAPTURING = "Capturing"
    CAPTURED = "Captured"
    CAPTURE_FAILED = "CaptureFailed"
    REPAIRING = "Repairing"
    REPAIRED = "Repaired"
    REPAIR_FAILED = "RepairFailed"
    KEEPING_EVIDENCE = "KeepingEvidence"
    EVIDENCE_KEPT = "EvidenceKept"
    EVIDENCE_FAILED = "EvidenceFailed"
    RETENTION_PLANNED = "RetentionPlanned"
    RETENTION_APPLIED = "RetentionApplied"
    RETENTION_BLOCKED = "RetentionBlocked"
    # Whether they are trusted
    SIGNATURE_TRUSTED = "SignatureTrusted"
    NO_TRUST_POLICY = "NoTrustPolicy"
    NOT_EXAMINED = "NotExamined"
    SIGNATURE_MISSING = "SignatureMissing"
    SIGNATURE_INVALID = "SignatureInvalid"
    SIGNATURE_UNTRUSTED = "SignatureUntrusted"
    TOO_FEW_SIGNATURES = "TooFewSignatures"
    KEY_REVOKED = "KeyRevoked"
    KEY_NOT_VALID = "KeyNotValidNow"
    CLAIMS_MISMATCH = "ClaimsMismatch"
    FILES_LEFT_OUT = "FilesLeftOut"
    POLICY_INVALID = "TrustPolicyInvalid"
    DIGEST_REVOKED = "DigestRevoked"
    BELOW_FLOOR = "BelowFloor"
    DATE_NOT_SIGNED = "DateNotSigned"
    SCANNED = "Scanned"
    NOT_SCANNED = "NotScanned"
    SCAN_FINDING = "ScanFinding"
    SCANNER_UNKNOWN = "ScannerUnknown"
    NOT_ON_CLAIM = "NotOnClaim"
    FORMAT_REFUSED = "FormatRefused"
    # What a ModelDeployment does
    SERVING = "Serving"
    DEPLOYING = "Deploying"
    DEPLOYED = "Deployed"
    ADOPTED = "Adopted"
    SOAKED = "Soaked"
    DRIFTED = "Drifted"
    SUSPENDED = "Suspended"
    HELD = "Held"
    RESUMED = "Resumed"
    WAITING = "Waiting"
    REMEMBERED = "Remembered"
    RECALLED = "Recalled"
    # Why it does not
    INVALID_SPEC = "InvalidSpec"
    TARGET_NOT_FOUND = "TargetNotFound"
    NOT_OPTED_IN = "NotOptedIn"
    NOT_BINDABLE = "NotBindable"
    OWNED_BY_ANOTHER = "OwnedByAnother"
    TARGET_SHARED = "TargetShared"
    CONTAINER_NOT_FOUND = "ContainerNotFound"
    VALUE_FROM = "VariableHasValueFrom"
    NOT_READ = "RememberedFactsNotRead"
    SNAPSHOT_NOT_FOUND = "SnapshotNotFound"
    SNAPSHOT_DELETING = "SnapshotBeingDeleted"
    SNAPSHOT_DELETED = "SnapshotDeleted"
    FALLBACK_DELETED = "FallbackDeleted"
    WRONG_MODEL = "WrongModel"
    NOT_VERIFIED = "NotVerified"
    NOT_MOUNTED = "NotMounted"
    NO_VALUE = "NoValueForBinding"
    IMAGE_NOT_PINNED = "ImageNotPinned"
    IMAGE_NOT_ALLOWED = "ImageNotAllowed"
    SWITCH_REFUSED = "SwitchRefused"
    QUARANTINE_REFUSED = "QuarantineRefused"
    FIELD_OWNED = "FieldOwnedByAnother"
    NO_CONFLICT = "NoConflict"
    OPTED_IN = "OptedIn"
    REQUEST_REJECTED = "RequestRejected"
    COOLDOWN = "Cooldown"
    RATE_LIMITED = "TooManyRollbacks"
    # What the API server does not give the operator
    RIGHT_MISSING = "RightMissing"
    DEFINITION_MISSING = "DefinitionMissing"
    ACCESS_RESTORED = "AccessRestored"
    # Health
    HEALTHY = "AllTriggersHealthy"
    TRIGGER_FIRED = "TriggerFired"
    NO_DATA = "NoData"
    UNAVAILABLE = "Unavailable"
    # Whether anything would be noticed
    PROTECTED = "Protected"
    NO_TRIGGERS = "NoTriggers"
    ALERTS_ONLY = "AlertsOnly"
    # Rollbacks
    REQUESTED = "RollbackRequested"
    EMERGENCY = "EmergencyRollback"
    CONTINUED = "Continued"
    ACCEPTED = "RollbackAccepted"
    INTENT = "RollbackIntent"
    SWITCHED = "Switched"
    AVAILABLE = "Available"
    VALIDATING = "Validating"
    VALIDATION_FAILED = "ValidationFailed"
    NOT_AVAILABLE = "ProgressDeadlineExceeded"
    TARGET_LOST = "TargetLost"
    NO_KNOWN_GOOD = "NoKnownGood"
    KNOWN_GOOD = "KnownGoodAvailable"
    SERVES_ALREADY = "ServesAlready"
    NOTHING_SOAKED = "NothingSoaked"
    UNVALIDATED = "Unvalidated"
    SUCCEEDED = "Succeeded"
    SUPERSEDED = "Superseded"
    NOT_ROLLED_BACK = "NotRolledBack"
    # Why a candidate was passed over
    CHOSEN = "Chosen"
    LEAVING = "BeingLeft"
    LEFT_BEFORE = "LeftBefore"
    DELETING = "Deleting"
    NOT_SOAKED = "NotSoaked"
    NEVER_SERVED = "NeverServed"
    APPEARED_LATER = "AppearedDuringIncident"
    AFTER_DATE = "NotBeforeDate"
    NOT_ASKED_FOR = "NotAskedFor"
    NOT_NEEDED = "NotNeeded"


class Outcome(StrEnum):
    """How a rollback ended; every accepted one ends in one of these."""

    SUCCEEDED = "Succeeded"
    UNVALIDATED = "Unvalidated"
    FAILED = "Failed"
    REJECTED = "Rejected"
    SUPERSEDED = "Superseded"


class Severity(StrEnum):
    """How urgent a trigger is; this version acts on critical and high, and tells of the others."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class LookError(StrEnum):
    """Why a look at a trigger or a check has no verdict."""

    INVALID_EXPRESSION = "InvalidExpression"
    INVALID_URL = "InvalidURL"
    HOST_NOT_ALLOWED = "HostNotAllowed"
    ADDRESS_REFUSED = "AddressRefused"
    NAME_NOT_FOUND = "NameNotFound"
    CONNECTION_REFUSED = "ConnectionRefused"
    UNREACHABLE = "Unreachable"
    CONNECTION_CLOSED = "ConnectionClosed"
    TIMED_OUT = "TimedOut"
    NOT_TRUSTED = "TLSNotTrusted"
    TLS_FAILED = "TLSFailed"
    NOT_HTTP = "NotHTTP"
    REDIRECT = "Redirect"
    STATUS = "HTTPStatus"
    PACKED = "Packed"
    TOO_LARGE = "TooLarge"
    UNUSABLE_JSON = "UnusableJSON"
    NO_ANSWER = "NoAnswer"
    NOT_READY = "NotReady"
    FAILED = "Failed"


class MetricName(StrEnum):
    """The metrics that the operator serves; times are seconds since 1970."""

    BUILD_INFO = "lastgood_build_info"
    LEADER = "lastgood_leader"
    SYNCED = "lastgood_synced"
    SNAPSHOT_CREATED = "lastgood_snapshot_created_timestamp_seconds"
    SNAPSHOT_VERIFIED = "lastgood_snapshot_last_verified_timestamp_seconds"
    SNAPSHOT_NEXT = "lastgood_snapshot_next_verification_timestamp_seconds"
    SNAPSHOT_CONDITION = "lastgood_snapshot_condition"
    DEPLOYMENT_CONDITION = "lastgood_deployment_condition"
    KNOWN_GOOD_VERIFIED = "lastgood_deployment_known_good_verified_timestamp_seconds"
    ROLLBACKS = "lastgood_rollbacks"
    VERIFICATIONS = "lastgood_verifications_total"
    VERIFIED_BYTES = "lastgood_verified_bytes_total"
