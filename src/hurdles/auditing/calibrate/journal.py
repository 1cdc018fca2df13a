"""The file of finished trials: lines are only ever added, so a kill costs the trials under way."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hurdles.data.files import write_text
from hurdles.errors import RunError
from hurdles.findings.finding import Beyond, Finding, Limit
from hurdles.findings.limits import CALIBRATED


@dataclass(frozen=True)
class Measured:
    """What of a finding decides its verdict, whatever the limit will be.

    Parameters
    ----------
    hurdle, subject : str
        As in the finding.
    value, low, high : float
        The estimate; NaN where it is undefined.
    beyond : str
        Bad side of the limit: above or below; empty where the finding is not judged.
    fixed : float or None
        The limit, where it holds by definition or from a paper; None where it is calibrated.
    margin : float or None
        Within which it is cleared; None where it is not judged.
    """

    hurdle: str
    subject: str
    value: float
    low: float
    high: float
    beyond: str
    fixed: float | None
    margin: float | None = None

    @classmethod
    def of(cls, finding: Finding) -> Measured:
        """Take from a finding what is needed."""
        found, limit = finding.estimate, finding.limit
        numbers = (finding.hurdle, finding.subject, found.value, found.low, found.high)
        if limit is None:
            return cls(*numbers, "", None)
        fixed = None if is_calibrated(limit) else limit.value
        return cls(*numbers, str(limit.beyond), fixed, limit.clears)

    @property
    def is_defined(self) -> bool:
        """Whether there is a number."""
        return not math.isnan(self.value)

    @property
    def bound(self) -> float:
        """The deciding end of the interval, turned so that higher is worse; NaN if undefined."""
        return self.low if self.beyond == Beyond.ABOVE else -self.high


@dataclass(frozen=True)
class Record:
    """What a trial gave.

    Parameters
    ----------
    trial : str
        Its name.
    asked : tuple of str
        The hurdles that were asked.
    found : tuple of Measured
        Every finding.
    auc : float or None
        Of the network on images that it never saw, where one was trained.
    seconds : float
        How long it took.
    """

    trial: str
    asked: tuple[str, ...]
    found: tuple[Measured, ...]
    auc: float | None
    seconds: float

    def to_json(self) -> str:
        """Return one line."""
        plain = asdict(self)
        plain["found"] = [_without_nan(asdict(m)) for m in self.found]
        return json.dumps(_without_nan(plain), allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> Record:
        """Read what `to_json` wrote."""
        plain = json.loads(line)
        found = tuple(Measured(**_with_nan(m)) for m in plain["found"])
        return cls(plain["trial"], tuple(plain["asked"]), found, plain["auc"], plain["seconds"])


class Journal:
    """Records in a file, one a line, under a first line that says what they are of.

    Parameters
    ----------
    path : Path
        The file; made if it is not there.
    about : mapping
        Profile, versions and code: whatever can change a number. Must be JSON.

    Raises
    ------
    RunError
        If the file holds trials of another calibration.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self.path = path
        self.records: dict[str, Record] = {}
        head = json.dumps({"about": dict(about)}, sort_keys=True)
        if path.exists():
            self._read(head)
        else:
            write_text(path, head + "\n")

    def _read(self, head: str) -> None:
        text = self.path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        lines = whole.splitlines()
        if not lines or lines[0] != head:
            raise RunError(
                f"{self.path} holds trials of another calibration (settings, versions or hurdles "
                "differ), or other things; give another --out."
            )
        if whole != text:  # killed within a line
            write_text(self.path, whole)
        for line in lines[1:]:
            record = Record.from_json(line)
            self.records[record.trial] = record

    def add(self, record: Record) -> None:
        """Append a record; a trial that is there already is not written again."""
        if record.trial in self.records:
            return
        with self.path.open("a", encoding="utf-8") as handle:
            handle.write(record.to_json() + "\n")
        self.records[record.trial] = record

    def among(self, names: Iterable[str]) -> list[Record]:
        """Return the records of these trials, in this order, as far as they are there."""
        return [self.records[name] for name in names if name in self.records]


def is_calibrated(limit: Limit) -> bool:
    """Return whether a limit comes from a calibration, or is to come from one."""
    return limit.source.startswith(("provisional", CALIBRATED))


_NUMBERS = ("value", "low", "high")


def _without_nan(plain: dict[str, Any]) -> dict[str, Any]:
    """Return the same with infinity as text and NaN as None, which JSON can say."""
    return {k: _said(v) if isinstance(v, float) else v for k, v in plain.items()}


def _said(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else str(value)


def _with_nan(plain: dict[str, Any]) -> dict[str, Any]:
    read = {k: math.nan if plain[k] is None else float(plain[k]) for k in _NUMBERS}
    return {**plain, **read}
