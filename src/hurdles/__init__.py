# ruff: noqa: F405 - the verbs are seen by type checkers alone until they are used
"""Train chest X-ray classifiers from small data, and show whether they read the lungs.

The functions are the verbs of the command line; each is imported when it is first used, so
``import hurdles`` is quick. Research use only; not a medical device.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from hurdles._version import __version__

if TYPE_CHECKING:
    from hurdles.api import *  # noqa: F403 - as above

#: The verbs stand here and nowhere else; `hurdles.api` defines each.
__all__ = [
    "__version__",
    "audit",
    "badge",
    "cache",
    "calibrate_audit",
    "check",
    "collections",
    "compare",
    "demo",
    "embed",
    "evaluate",
    "explain",
    "export",
    "fingerprint",
    "fit_head",
    "import_encoder",
    "learning_curve",
    "lineage",
    "load",
    "manifest",
    "plan",
    "predict",
    "report",
    "run",
    "segment",
    "spec",
    "study",
    "train_lungs",
    "verify",
]

logging.getLogger("hurdles").addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("hurdles.api"), name)
    raise AttributeError(f"module 'hurdles' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
