"""What is said of a measurement: hit, cleared, inconclusive."""

from __future__ import annotations

from words_cases import case


@case(
    "A verdict is never surer than its interval",
    "calibration slope 0.30 [-0.30, 0.91] held against at least 0.9",
    "inconclusive",
)
def slope_straddles_its_limit() -> str:
    from hurdles.evaluation.estimate import Estimate
    from hurdles.findings.finding import Finding, Limit

    slope = Estimate(0.30, -0.30, 0.91, 0.95, "bootstrap", 44, 44)
    limit = Limit(0.9, "by definition", "below")
    return str(Finding("calibration", "", "calibration slope", slope, limit).verdict)
