"""The verbs: one function each, the same in Python and on the command line."""

from hurdles.workflows.auditing import audit, calibrate_audit, check
from hurdles.workflows.experiments import compare, demo, embed, evaluate, explain, report, run
from hurdles.workflows.images import cache, collections, manifest
from hurdles.workflows.lungs import segment, train_lungs
from hurdles.workflows.origins import fingerprint, lineage
from hurdles.workflows.studies import plan, study

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
