"""The verbs: one function each, the same in Python and on the command line."""

from hurdles.api.auditing import audit, calibrate_audit, check
from hurdles.api.experiments import (
    compare,
    demo,
    embed,
    evaluate,
    explain,
    plan,
    report,
    run,
    study,
)
from hurdles.api.images import cache, collections, fingerprint, lineage, manifest
from hurdles.api.lungs import segment, train_lungs

__all__ = [
    "audit",
    "cache",
    "calibrate_audit",
    "check",
    "collections",
    "compare",
    "demo",
    "embed",
    "evaluate",
    "explain",
    "fingerprint",
    "lineage",
    "manifest",
    "plan",
    "report",
    "run",
    "segment",
    "study",
    "train_lungs",
]
