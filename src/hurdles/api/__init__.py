"""The verbs: one function each, the same in Python and on the command line."""

from hurdles.api.auditing import audit, calibrate_audit, check
from hurdles.api.experiments import compare, demo, embed, evaluate, explain, report, run
from hurdles.api.images import cache, collections, manifest
from hurdles.api.lungs import segment, train_lungs
from hurdles.api.origins import fingerprint, lineage
from hurdles.api.studies import plan, study

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
