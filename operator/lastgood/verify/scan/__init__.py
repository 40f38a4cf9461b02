"""Scanners: may this file even be here?

`scan` looks at every file of a checkpoint, and at what is inside archives. It tells findings and anomalies; that
there are none says nothing about what the weights have learned.
"""

from lastgood.verify.scan.containers.part import Part
from lastgood.verify.scan.engine import SCANNERS, scan
from lastgood.verify.scan.external import ExternalResult, ExternalResultError
from lastgood.verify.scan.formats import Format
from lastgood.verify.scan.scanner import Context, Scanner
from lastgood.verify.scan.values import (
    Drift,
    Finding,
    Kind,
    Pattern,
    Policy,
    ScanLimits,
    ScanResult,
    ScanVerdict,
    Skipped,
    anomaly,
    finding,
)

__all__ = [
    "SCANNERS",
    "Context",
    "Drift",
    "ExternalResult",
    "ExternalResultError",
    "Finding",
    "Format",
    "Kind",
    "Part",
    "Pattern",
    "Policy",
    "ScanLimits",
    "ScanResult",
    "ScanVerdict",
    "Scanner",
    "Skipped",
    "anomaly",
    "finding",
    "scan",
]
