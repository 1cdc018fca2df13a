"""Forecasts held against what came: how far each misses, and intervals that count that in.

A forecast of a place (`hurdles.evaluation.places`) has two errors: too few patients, and that the
place is not like those from which forecasting was learnt. The second is larger, and no image of the
place shows it. Here it is measured on places where the truth is known, collection by collection:

- *The combination* takes the losses that the estimators foresee, each with a weight that is not
  negative (stacked regressions, Breiman 1996), a constant, and a part that grows with how well a
  probe tells the place from the inside. It is fitted by non-negative least squares, every
  collection counting once.
- *An interval* is the forecast, give or take what nine in ten places stayed within. Places of one
  collection are not independent, so that the quantile pools the collections' distributions, with
  one more collection of which nothing is known (hierarchical conformal prediction: Lee, Barber and
  Willett 2023, arXiv 2306.06342). With fewer than nine there is no such quantile: the interval is
  everything. It holds its level on average over collections that are drawn as these were. No
  hospital is drawn like a phantom, so that how often it held is told by origin.
- *The record* is made by leaving out: what is said of a place was fitted, and its interval
  measured, on outcomes that share neither its collection nor that of the model. Estimators and
  their constants are none of what is fitted: they were there before the outcomes.

`forecast.toml` holds what ships of it; ``bench/forecast.py`` writes the file.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.errors import EvaluationError
from hurdles.evaluation.bounds import check_level, normal_quantile, patient_mean, patient_share
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.places import Forecast, Target
from hurdles.evaluation.statistics import Floats

__all__ = [
    "COLUMNS",
    "Combination",
    "Outcomes",
    "Reliability",
    "Track",
    "half_width",
    "load_reliabilities",
]

#: Level of the intervals of forecasts, and the mean miss that is small enough to be of use.
LEVEL, GOAL = 0.9, 0.05
#: Collections from which a quantile of that level exists at all, see `half_width`.
LEAST_COLLECTIONS = 9
#: Name of the estimator that the others are combined to.
COMBINATION = "combination"
_INSIDE = "inside"

#: Columns of a table of outcomes: one row per model, place and target.
COLUMNS: dict[str, str] = {
    "origin": "planted (phantoms) or shared (public collections of real X-rays)",
    "home": "collection that the model was trained on",
    "collection": "collection of the place",
    "model": "name of the model",
    "place": "name of the place",
    "target": "accuracy or AUC",
    "inside": "the measure on images inside that the model did not learn from, 0 to 1",
    "came": "the measure at the place, 0 to 1",
    "separation": "AUC of telling the place from the inside; 0.5: alike",
    "n_inside": "images inside",
    "n_there": "images of the place",
}
#: Before the name of an estimator: the columns of its forecast, and of its standard error.
FORECAST, ERROR = "forecast: ", "error: "


def half_width(
    misses: Floats, collections: Sequence[str] | NDArray[np.str_], level: float = LEVEL
) -> float:
    """Return within what this share of misses at a place of another collection stay.

    Parameters
    ----------
    misses : array of shape (n,)
        Distances of forecasts from what came, at least 0.
    collections : sequence of n
        Of the places; places of one are not independent, collections are taken to be.
    level : float
        Share, within (0, 1).

    Returns
    -------
    float
        Infinite where there are too few collections: of k, the next one stays within all of theirs
        with a chance of k / (k + 1) at most.

    Raises
    ------
    EvaluationError
        If there is not one collection for each miss.

    Examples
    --------
    >>> half_width(np.arange(1.0, 20.0), list("abcdefghijklmnopqrs"))
    18.0
    >>> half_width(np.array([0.1, 0.2]), ["a", "b"])
    inf
    """
    check_level(level)
    values, names = np.abs(np.asarray(misses, dtype="float64")), np.asarray(collections, dtype=str)
    if values.shape != names.shape or values.ndim != 1 or np.isnan(values).any():
        raise EvaluationError(
            f"{values.shape} misses and {names.shape} collections; give one number, not NaN, and "
            "one collection for each place."
        )
    if not len(values):
        return math.inf
    _, codes, counts = np.unique(names, return_inverse=True, return_counts=True)
    weights = 1 / (counts[codes] * (len(counts) + 1))
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order]) >= level - 1e-12
    return float(values[order][int(reached.argmax())]) if reached.any() else math.inf


@dataclass(frozen=True)
class Combination:
    """Forecast made of those of several estimators, for one target.

    ``inside - constant - by_separation * (2 * separation - 1) - sum of weight * (inside -
    forecast)``. Nothing is negative: what an estimator calls a loss makes no gain.

    Parameters
    ----------
    target : Target
        Measure that is forecast.
    weights : mapping of str to float
        By the name of each estimator.
    constant, by_separation : float
        Losses that no estimator foresees: everywhere, and at a place that is wholly unlike.
    """

    target: Target
    weights: Mapping[str, float]
    constant: float
    by_separation: float

    @classmethod
    def fit(cls, target: Target, table: pd.DataFrame) -> Combination:
        """Fit to the outcomes in a table of one target; every collection counts once."""
        from scipy.optimize import nnls

        names = [name for name in estimators_of(table) if name != _INSIDE]
        lost = (table["inside"] - table["came"]).to_numpy(dtype=float)
        design = np.column_stack([_losses(table, names), np.ones(len(table)), _apart(table)])
        counts = table["collection"].map(table["collection"].value_counts()).to_numpy(dtype=float)
        root = np.sqrt(1 / counts)
        found, _ = nnls(design * root[:, None], lost * root)
        *weights, constant, slope = found.tolist()
        return cls(target, dict(zip(names, weights, strict=True)), constant, slope)

    def forecast(self, table: pd.DataFrame) -> Floats:
        """Return the forecasts of places, shape (n,), each within [0, 1]."""
        names = list(self.weights)
        lost = _losses(table, names) @ np.array([self.weights[name] for name in names])
        lost = lost + self.constant + self.by_separation * _apart(table)
        return np.asarray(np.clip(table["inside"].to_numpy(dtype=float) - lost, 0.0, 1.0))

    def errors(self, table: pd.DataFrame) -> Floats:
        """Return standard errors over patients, shape (n,): as if estimators erred together.

        What no estimator has a say in moves with the inside.
        """
        weights = {**self.weights, _INSIDE: max(0.0, 1 - sum(self.weights.values()))}
        own = [table[ERROR + n].fillna(0.0) * w for n, w in weights.items() if ERROR + n in table]
        return np.asarray(sum((e.to_numpy(dtype=float) for e in own), np.zeros(len(table))))


def _losses(table: pd.DataFrame, names: Sequence[str]) -> Floats:
    """Return what each estimator says is lost, shape (n, names).

    Where one has nothing to say, what the others say on average stands for it; 0 if none does.
    """
    forecast = table[[FORECAST + name for name in names]].to_numpy(dtype=float)
    losses = table["inside"].to_numpy(dtype=float)[:, None] - forecast
    known = ~np.isnan(losses)
    others = np.where(known, losses, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return np.asarray(np.where(known, losses, others[:, None]))


def _apart(table: pd.DataFrame) -> Floats:
    separation = table["separation"].fillna(0.5).to_numpy(dtype=float)
    return np.asarray(np.maximum(0.0, 2 * separation - 1))


@dataclass(frozen=True)
class Track:
    """Record of one estimator on places of one origin where the truth is known.

    Parameters
    ----------
    origin : str
        ``planted`` or ``shared``, see `COLUMNS`.
    miss : Estimate
        Mean distance from what came, with Student's 95 % interval over the collections of the
        places or over those of the models, whichever is wider.
    held : Estimate
        Share of places whose truth lay in the interval of the forecast, with the exact 95 %
        interval for as many places as these collections are worth, again the wider one.
    collections : int
        Of the places.
    silent : int
        Places of which it had nothing to say.
    """

    origin: str
    miss: Estimate
    held: Estimate
    collections: int
    silent: int = 0

    @property
    def places(self) -> int:
        """Places with a forecast."""
        return self.miss.n_images

    @property
    def is_reached(self) -> bool:
        """True where the mean miss is shown to be small, and intervals held as they promise.

        Of fewer than nine collections never: of so few alone there is no interval.
        """
        enough = self.collections >= LEAST_COLLECTIONS
        return enough and self.miss.high <= GOAL and self.held.value >= LEVEL

    @property
    def is_missed(self) -> bool:
        """True where the mean miss is shown to be larger, or intervals not to hold."""
        return self.miss.low > GOAL or self.held.high < LEVEL

    def __str__(self) -> str:
        """Return it in words."""
        if not self.miss.is_defined:
            return f"{self.origin}: {self.places} places of one collection, which is no record"
        held = f"{100 * LEVEL:.0f} % intervals held {self.held.percent(0)}"
        return (
            f"{self.origin}: {self.places} places of {self.collections} collections, missed by "
            f"{self.miss} on average, {held if self.held.is_defined else 'no intervals'}"
        )


@dataclass(frozen=True)
class Reliability:
    """Record of one estimator, and how far it is off from place to place.

    Parameters
    ----------
    estimator : str
        Its name.
    target : Target
        Measure that it forecasts.
    reach : float
        Half the width of its interval, see `half_width`.
    error : float
        Typical standard error over patients, which is in the reach already.
    tracks : tuple of Track
        One for each origin.
    combination : Combination, optional
        That which ships; None for any other estimator.
    """

    estimator: str
    target: Target
    reach: float
    error: float
    tracks: tuple[Track, ...]
    combination: Combination | None = None

    @property
    def is_supported(self) -> bool:
        """True where the record reaches the goal on planted and on shared collections."""
        origins = {track.origin for track in self.tracks}
        return len(origins) > 1 and all(track.is_reached for track in self.tracks)

    @property
    def collections(self) -> str:
        """The collections that the interval rests on, in words."""
        return ", ".join(f"{track.collections} {track.origin}" for track in self.tracks) or "no"

    @property
    def record(self) -> str:
        """The record in words."""
        return "; ".join(map(str, self.tracks)) or "no record"

    @property
    def missed(self) -> str:
        """Mean misses alone, in words."""
        known = [track for track in self.tracks if track.miss.is_defined]
        means = [f"{track.miss.value:.3f} at {track.origin}" for track in known]
        return f"missed by {', '.join(means)} places" if means else "no record"

    def interval(self, forecast: Forecast, *, n_images: int, n_patients: int) -> Estimate:
        """Return a forecast with its interval, place to place included.

        Where patients make more error than in the record, `error`, the rest of it is added.
        `n_images` and `n_patients` are those of the place.
        """
        if not forecast.is_defined:
            return undefined(forecast.note, level=LEVEL, n_images=n_images, n_patients=n_patients)
        more = max(0.0, forecast.error**2 - self.error**2) if forecast.error > 0 else 0.0
        reach = math.hypot(self.reach, normal_quantile(LEVEL) * math.sqrt(more))
        low, high = max(0.0, forecast.value - reach), min(1.0, forecast.value + reach)
        share, known = f"{100 * LEVEL:.0f} %", self.collections
        method = f"{share} of places of other collections ({known}), each collection once"
        if math.isinf(self.reach):
            method = f"all there is: {share} need {LEAST_COLLECTIONS} other collections"
        return Estimate(forecast.value, low, high, LEVEL, method, n_images, n_patients)


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Table of forecasts and of what came, one row per model, place and target.

    Parameters
    ----------
    frame : DataFrame
        Columns as in `COLUMNS`; then, for each estimator, ``forecast: NAME`` and ``error: NAME``,
        empty where it has nothing to say.

    Raises
    ------
    EvaluationError
        If a column is missing, or what came is not known of a place.
    """

    frame: pd.DataFrame

    def __post_init__(self) -> None:
        missing = [c for c in COLUMNS if c not in self.frame]
        if missing:
            raise EvaluationError(f"a table of outcomes lacks {', '.join(missing)}.")
        unknown = self.frame[self.frame[["inside", "came"]].isna().any(axis=1)]
        if len(unknown):
            raise EvaluationError(
                f"what came is not known of {len(unknown)} places, e.g. "
                f"{unknown['place'].iloc[0]!r}; leave them out."
            )

    def __len__(self) -> int:
        return len(self.frame)

    def of(self, target: Target) -> pd.DataFrame:
        """Return the rows of a target, with the columns of its estimators."""
        rows = self.frame[self.frame["target"] == str(target)]
        return rows.dropna(axis="columns", how="all").reset_index(drop=True)

    def reliabilities(self) -> dict[tuple[Target, str], Reliability]:
        """Return the record of every estimator and of the combination, by target and name."""
        known = {}
        for target in Target:
            table = self.of(target)
            if not len(table):
                continue
            for name in estimators_of(table):
                given = table[FORECAST + name].to_numpy(dtype=float)
                known[target, name] = _reliability(target, name, table, given)
            left_out = combined(target, table)
            known[target, COMBINATION] = _reliability(target, COMBINATION, table, left_out)
        return known


def estimators_of(table: pd.DataFrame) -> list[str]:
    """Return the names of the estimators that have columns."""
    columns = map(str, table.columns)
    return [c.removeprefix(FORECAST) for c in columns if c.startswith(FORECAST)]


def combined(target: Target, table: pd.DataFrame) -> Floats:
    """Return what the combination says of each place, fitted without its collections, shape (n,).

    NaN where nothing is left to fit it to.
    """
    answers = np.full(len(table), math.nan)
    for rows, others in _left_out(table):
        if others.any():
            fitted = Combination.fit(target, table[others])
            answers[rows] = fitted.forecast(table.iloc[rows])
    return answers


def _left_out(table: pd.DataFrame) -> list[tuple[NDArray[np.intp], NDArray[np.bool_]]]:
    """Return places of one model's and one place's collection, and which share neither of both."""
    home, away = (table[c].to_numpy(dtype=str) for c in ("home", "collection"))
    blocks = []
    for one, two in dict.fromkeys(zip(home.tolist(), away.tolist(), strict=True)):
        rows = np.flatnonzero((home == one) & (away == two))
        others = ~np.isin(home, (one, two)) & ~np.isin(away, (one, two))
        blocks.append((rows, others))
    return blocks


def _reliability(target: Target, name: str, table: pd.DataFrame, given: Floats) -> Reliability:
    came = table["came"].to_numpy(dtype=float)
    misses, known = np.abs(given - came), ~np.isnan(given)
    within, bounded = (np.zeros(len(table), dtype=bool) for _ in range(2))
    for rows, others in _left_out(table):
        # The combination's own misses elsewhere must not have been fitted with this place either.
        rest = table[others].reset_index(drop=True)
        apart = misses[others]
        if name == COMBINATION and len(rest):
            apart = np.abs(combined(target, rest) - rest["came"].to_numpy(dtype=float))
        usable = ~np.isnan(apart)
        reach = half_width(apart[usable], rest["collection"].to_numpy(dtype=str)[usable])
        within[rows], bounded[rows] = misses[rows] <= reach, math.isfinite(reach)
    collections, homes = (table[c].to_numpy(dtype=str) for c in ("collection", "home"))
    origins, units = table["origin"].to_numpy(dtype=str), (collections, homes)
    tracks = tuple(
        _track(origin, misses, within, bounded, units, own, int((there & ~known).sum()))
        for origin in dict.fromkeys(origins.tolist())
        if (own := (there := origins == origin) & known).any()
    )
    fitted = Combination.fit(target, table) if name == COMBINATION else None
    errors = fitted.errors(table) if fitted else table[ERROR + name].to_numpy(dtype=float)
    error = float(np.median(errors[known])) if known.any() else 0.0
    reach = half_width(misses[known], collections[known])
    return Reliability(name, target, reach, error, tracks, fitted)


def _track(
    origin: str,
    misses: Floats,
    within: NDArray[np.bool_],
    bounded: NDArray[np.bool_],
    units: tuple[NDArray[np.str_], NDArray[np.str_]],
    own: NDArray[np.bool_],
    silent: int,
) -> Track:
    """Return the record on some places; an interval that is everything holds no promise.

    Misses of one place's collection go together, and so do those of one model's, the units.
    """
    given = own & bounded
    held = undefined("of fewer than nine other collections an interval is everything")
    if given.any():
        held = _wider(patient_share(within[given], each[given], exact=True) for each in units)
    miss = _wider(patient_mean(misses[own], each[own], low=0.0, high=1.0) for each in units)
    return Track(origin, miss, held, len(np.unique(units[0][own])), silent)


def _wider(estimates: Iterable[Estimate]) -> Estimate:
    """Return the estimate of the widest interval; one that is undefined, before any other."""
    return max(estimates, key=lambda e: e.high - e.low if e.is_defined else math.inf)


# --- the file that ships -------------------------------------------------------------------------


def to_toml(reliabilities: Mapping[tuple[Target, str], Reliability], about: str) -> str:
    """Return the file that ships: what is known of every estimator, and where that comes from."""
    import tomli_w

    content: dict[str, Any] = {"about": about}
    for (target, name), known in reliabilities.items():
        entry: dict[str, Any] = {"reach": _rounded(known.reach), "error": _rounded(known.error)}
        if known.combination is not None:
            entry["constant"] = _rounded(known.combination.constant)
            entry["by_separation"] = _rounded(known.combination.by_separation)
            weights = known.combination.weights
            entry["weights"] = {each: _rounded(weight) for each, weight in weights.items()}
        for track in known.tracks:
            entry[track.origin] = {
                "places": track.places,
                "collections": track.collections,
                "silent": track.silent,
                "miss": [_rounded(x) for x in (track.miss.value, track.miss.low, track.miss.high)],
                "held": [_rounded(x) for x in (track.held.value, track.held.low, track.held.high)],
            }
        content.setdefault(str(target), {})[name] = entry
    return _HEAD + tomli_w.dumps(content)


_HEAD = """\
# How far forecasts of unlabeled places were off where the truth is known, written by
# bench/forecast.py. reach: half the width of a 90 % interval, from place to place; error: the
# standard error over patients that is in it. miss and held: value, lower and upper 95 % bound.

"""


def _rounded(value: float) -> float:
    return round(value, 4)


def load_reliabilities(path: str | Path | None = None) -> dict[tuple[Target, str], Reliability]:
    """Return what a file says is known of every estimator; without one, the file that ships.

    Raises
    ------
    EvaluationError
        If it is no such file.
    """
    if path is None:
        return dict(_shipped())
    return _parsed(Path(path).read_text(encoding="utf-8"), str(path))


@cache
def _shipped() -> dict[tuple[Target, str], Reliability]:
    file = resources.files("hurdles.evaluation") / "forecast.toml"
    return _parsed(file.read_text(encoding="utf-8"), "forecast.toml")


def _parsed(text: str, where: str) -> dict[tuple[Target, str], Reliability]:
    known = {}
    try:
        for target, entries in tomllib.loads(text).items():
            if target == "about":
                continue
            for name, entry in entries.items():
                known[Target(target), name] = _reliability_of(Target(target), name, entry)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise EvaluationError(f"{where} holds no record of forecasts: {error!r}") from error
    return known


def _reliability_of(target: Target, name: str, entry: Mapping[str, Any]) -> Reliability:
    tracks = []
    for origin, of in entry.items():
        if isinstance(of, dict) and origin != "weights":
            size = (of["places"], of["collections"])
            miss, low, high = map(float, of["miss"])
            held, least, most = map(float, of["held"])
            missed = Estimate(miss, low, high, 0.95, "Student's t over collections", *size)
            within = Estimate(held, least, most, 0.95, "Clopper-Pearson", *size)
            tracks.append(Track(origin, missed, within, of["collections"], of["silent"]))
    combination = None
    if "weights" in entry:
        numbers = float(entry["constant"]), float(entry["by_separation"])
        combination = Combination(target, dict(entry["weights"]), *numbers)
    reach, error = float(entry["reach"]), float(entry["error"])
    return Reliability(name, target, reach, error, tuple(tracks), combination)
