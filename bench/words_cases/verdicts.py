"""What is said of a measurement: hit, cleared, inconclusive."""

from __future__ import annotations

import tempfile
from pathlib import Path

from words_cases import case, command

POINT = "A verdict is never surer than its interval"
FAULTS = "A hurdle that fails is no clean end"


def _verdict(value: float, low: float, high: float, limit: float, beyond: str = "above") -> str:
    from hurdles.evaluation.estimate import Estimate
    from hurdles.findings.finding import Finding, Limit

    found = Estimate(value, low, high, 0.95, "made up", 44, 44)
    held = Limit(limit, "by definition", beyond)
    return str(Finding("made", "", "made up", found, held).verdict)


@case(POINT, "slope 0.30 [-0.30, 0.91] against at least 0.9", "inconclusive")
def slope_that_straddles_its_limit() -> str:
    return _verdict(0.30, -0.30, 0.91, 0.9, "below")


@case(POINT, "AUC 0.93 [0.56, 0.99] against at most 0.577", "inconclusive")
def auc_that_straddles_its_limit() -> str:
    return _verdict(0.93, 0.56, 0.99, 0.577)


@case(POINT, "a value of 0.5 whose interval is NaN, against at most 0.6", "inconclusive")
def interval_that_is_none() -> str:
    nan = float("nan")
    return _verdict(0.5, nan, nan, 0.6)


@case(POINT, "AUC 0.55 [0.54, 0.56] against the shipped limit for confounders", "hit")
def whole_interval_beyond() -> str:
    return _shipped("confounders", 0.55, 0.54, 0.56)


@case(
    POINT, "AUC 0.52 [0.45, 0.59] against the shipped limit and margin for confounders", "cleared"
)
def whole_interval_within_the_margin() -> str:
    return _shipped("confounders", 0.52, 0.45, 0.59)


@case(POINT, "AUC 0.52 [0.33, 0.70], 44 patients, against the same", "inconclusive")
def small_set_is_not_acquitted() -> str:
    return _shipped("confounders", 0.52, 0.33, 0.70)


def _shipped(hurdle: str, value: float, low: float, high: float) -> str:
    from hurdles.evaluation.estimate import Estimate
    from hurdles.findings.finding import Finding
    from hurdles.findings.limits import limit_for

    found = Estimate(value, low, high, 0.95, "DeLong", 44, 44)
    return str(Finding(hurdle, "", "AUC", found, limit_for(hurdle)).verdict)


def _hurdle(*verdicts: str) -> str:
    """Return the verdict of a hurdle with findings that were cleared, not judged, or not had."""
    from hurdles.evaluation.estimate import undefined
    from hurdles.findings.finding import Finding, Limit, counted
    from hurdles.findings.table import Findings

    limit = Limit(0, "by definition")
    made = {
        "cleared": (counted(0, n_images=9), limit),
        "shown": (counted(3, n_images=9), None),
        "missing": (undefined("nothing known"), limit),
    }
    rows = [Finding("h", str(i), "number", *made[each]) for i, each in enumerate(verdicts)]
    return str(Findings(tuple(rows), {"h": "?"}).verdict("h"))


@case(POINT, "a hurdle of which one judged part is clear and one could not run", "inconclusive")
def part_that_could_not_run() -> str:
    return _hurdle("cleared", "missing")


@case(POINT, "a hurdle that only shows numbers", "shown")
def hurdle_that_judges_nothing() -> str:
    return _hurdle("shown")


@case(POINT, "a hurdle without any finding", "could not run")
def hurdle_without_findings() -> str:
    return _hurdle()


@case(
    POINT,
    "the largest share of a model's AUC above chance that is ever said to be without lungs",
    "100 %",
)
def share_above_the_whole() -> str:
    from dataclasses import replace

    from hurdles.auditing.model import views as module
    from hurdles.evaluation.estimate import Estimate

    share = Estimate(1.04, 0.97, 1.12, 0.95, "MOVER-R", 436, 400)
    bound = getattr(module, "_whole_at_most", replace)
    return f"{100 * bound(share).high:.0f} %"


@case(
    "A number's scale is data",
    "a difference of two shares, 0.05, called 'share of flips minus control'",
    "0.050 [0.010, 0.090]",
)
def difference_called_a_share() -> str:
    from hurdles.evaluation.estimate import Estimate
    from hurdles.findings.finding import Finding
    from hurdles.findings.summary import value_text

    found = Estimate(0.05, 0.01, 0.09, 0.95, "MOVER", 44, 44)
    return value_text(Finding("h", "", "share of flips minus control", found, None))


@case(
    "Attention: below the margin is a hit",
    "a model that reads nothing in the lungs: heat 1.005 [0.931, 1.085] of that of random weights",
    "hit",
)
def heat_as_of_random_weights() -> str:
    return _shipped("attention", 1.005, 0.931, 1.085)


def _checked(own: str, *options: str) -> int:
    """Return the exit code of `hurdles check` on a few images, with a hurdle of one's own."""
    from hurdles.phantom import phantom_cohort

    folder = Path(tempfile.mkdtemp())
    cohort = phantom_cohort(24, seed=0, size=64, classes=("COVID-19", "Normal"))
    import cv2

    for row, pixels in zip(cohort.frame.itertuples(), cohort.pixels, strict=True):
        file = folder / "images" / row.label / f"{Path(row.image).stem}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), pixels)
    mine = folder / "mine.py"
    mine.write_text(own)
    return command(
        "check", folder / "images", "--own", mine, "--hurdle", "mine", "--cache", folder / "cache",
        *options,
    ).code  # fmt: skip


_HEAD = """
import sys
from hurdles.auditing.hurdle import data_hurdle
from hurdles.evaluation.estimate import Estimate
from hurdles.findings.finding import Finding, Limit
"""


@case(FAULTS, "a hurdle of one's own that calls sys.exit(0): exit code", "5")
def hurdle_that_exits() -> str:
    own = '@data_hurdle("mine", question="?")\ndef mine(m):\n    sys.exit(0)\n    yield\n'
    return str(_checked(_HEAD + own))


@case(FAULTS, "a hurdle of one's own that divides by zero: exit code", "5")
def hurdle_that_raises() -> str:
    own = '@data_hurdle("mine", question="?")\ndef mine(m):\n    yield 1 / 0\n'
    return str(_checked(_HEAD + own))


@case(FAULTS, "a hurdle that is inconclusive, with --strict: exit code", "4")
def inconclusive_and_strict() -> str:
    own = (
        '@data_hurdle("mine", question="?")\n'
        "def mine(m):\n"
        '    found = Estimate(0.5, 0.2, 0.8, 0.95, "m", 24, 24)\n'
        '    yield Finding("mine", "", "AUC", found, Limit(0.6, "ours"))\n'
    )
    return str(_checked(_HEAD + own, "--strict"))
