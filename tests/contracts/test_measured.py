"""What the documentation says of the hurdles is what their last calibration measured."""

from pathlib import Path

from hurdles.calibrating.trials import is_calibrated
from hurdles.findings.limits import load_limits

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "results" / "audit-calibration.md"


def rows(path: Path, head: str) -> list[str]:
    """Return the rows of the first table under a heading or with such a head."""
    text = path.read_text(encoding="utf-8").split(head, 1)[1]
    lines = text.splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("| ---"))
    table = []
    for line in lines[first + 1 :]:
        if not line.startswith("|"):
            break
        table.append(line)
    return table


def test_each_hurdle_stands_there_with_what_it_did_not_reach():
    measured = rows(PAGE, "## Hurdle by hurdle")
    assert len(measured) > 10
    assert rows(DOCS / "hurdles.md", "false alarms | shortcuts") == measured


def test_limits_that_ship_are_those_of_the_page():
    page = {tuple(row.split(" | ")[:3]) for row in rows(PAGE, "## Limits")}
    for (hurdle, subject), limit in load_limits().items():
        if is_calibrated(limit):
            row = f"| {hurdle}", subject or "all others", f"{limit.beyond} {limit.value:g}"
            assert row in page, row
