"""Check of a spec: a model's answers held against its user's own predictions, image by image.

A spec is believed where they agree. Where they do not, the mistakes that are usually made are
tried, singly and in pairs, and the one is named that makes them agree. Agreement counts only where
answers vary: of a model that answers every image alike, no spec could be told right from wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hurdles.data.untrusted import listed, shown
from hurdles.errors import ModelError, SpecError
from hurdles.foreign.alterations import (
    Change,
    altered_inputs,
    changes_of_output,
    remedy,
    single_changes,
)
from hurdles.foreign.spec import Spec

__all__ = ["Agreement", "Expectation", "check_expectation"]

#: Images that are compared at most, and those by which single changes and pairs are tried; spread
#: over the answers.
_MOST, _FEW, _FEWER = 200, 16, 6
#: Of five images, answers like the expected ones agreed by one of the changes in 1 of 50 trials; of
#: eight, in none of 100.
_LEAST = 8
#: Answers are the same where so many images differ by at most so much, as another resize does ...
TOLERANCE, _NEAR = 0.05, 0.95
#: Decisions are the same where this share of them is.
_NEAR_HARD = 0.98
#: ... and where the mean difference is at most this share of that between two images ...
_SHARE = 0.1
#: ... which itself must be at least this: probabilities are often written with two digits.
_SPREAD = 0.02
#: Mean differences that are as good as none; no change needs to be tried after such a one.
_EXACT = 0.002
#: A change counts, though the spec agrees without it, that leaves this share of the difference.
_BETTER = 0.2

#: From a spec and positions among the images to squares (n, S, S) and, where needed, their lungs.
Reading: TypeAlias = Callable[
    [Spec, NDArray[np.int64]], "tuple[NDArray[np.uint8], NDArray[np.bool_] | None]"
]


class Specified(Protocol):
    """A model that is asked by a spec, as `hurdles.foreign.onnx.OnnxModel`."""

    spec: Spec

    def with_spec(self, spec: Spec) -> Specified:
        """Return the same model asked by another spec."""

    def outputs(
        self, pixels: NDArray[np.uint8], masks: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        """Return its own answers, shape (n, outputs), before they become probabilities."""


class Agreement(StrEnum):
    """Results of a check."""

    AGREES = "agrees"
    WHEN_CHANGED = "agrees when changed"
    DISAGREES = "disagrees"
    UNDECIDED = "cannot be told"


@dataclass(frozen=True)
class Comparison:
    """Differences between answers and what is expected, of n images: the largest of the classes."""

    n: int
    largest: float
    mean: float
    near: float  # share of images within the tolerance
    equal_decisions: int
    worst: str  # the image with the largest difference

    def __str__(self) -> str:
        return (
            f"largest difference {self.largest:.3g}, mean {self.mean:.3g}; "
            f"{self.equal_decisions} of {self.n} decisions equal"
        )


@dataclass(frozen=True)
class Expectation:
    """Result of a check of a spec by its user's own predictions.

    Parameters
    ----------
    agreement : Agreement
    n : int
        Images that were compared.
    spread : float
        Mean difference between the expected probabilities of two images, within [0, 1].
    comparison : Comparison or None
        By the spec as it stands; None where it does not fit the model's answers.
    changes : tuple of str
        What makes the model answer as expected, or comes nearest; "the model answers as expected
        when" goes before each.
    remedy : str
        The same as fields of the spec.
    changed : Comparison or None
        With these changes.
    spec : Spec or None
        The spec as it agrees: as it stands or with the changes; None where none does.
    tried : int
        Ways of asking and of reading the answers that were compared.
    unnoticed : tuple of str
        Fields that could be otherwise on these images, of a spec that agrees.
    notes : tuple of str
        What else a reader should know.
    """

    agreement: Agreement
    n: int
    spread: float
    comparison: Comparison | None = None
    changes: tuple[str, ...] = ()
    remedy: str = ""
    changed: Comparison | None = None
    spec: Spec | None = field(default=None, repr=False)
    tried: int = 1
    unnoticed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        """True if the spec is believed as it stands."""
        return self.agreement is Agreement.AGREES

    def lines(self, source: str = "your predictions") -> list[str]:
        """Return the result as sentences; `source` names where the expected answers are from."""
        vary = f"two images differ by {self.spread:.3g} on average"
        compared = f"{self.n} images compared; {vary}"
        present = f"as it stands: {self.comparison}" if self.comparison else "it does not fit"
        if self.agreement is Agreement.AGREES:
            first = f"the spec is believed: the model answers as in {source} ({self.comparison})"
            lines = [f"{first}; {compared}."]
        elif self.agreement is Agreement.WHEN_CHANGED:
            lines = [
                f"the spec is wrong: the model answers as in {source} when "
                f"{' and '.join(self.changes)}: set {self.remedy} ({self.changed}).",
                f"{compared}; {present}; {self.tried} ways tried.",
            ]
        elif self.agreement is Agreement.DISAGREES:
            lines = [
                f"the model does not answer as in {source}, and none of {self.tried} ways tried "
                f"makes it; {compared}; {present}."
            ]
            if self.changed is not None:
                words = " and ".join(self.changes) or "nothing is changed"
                lines.append(f"The nearest: when {words} ({self.changed}).")
            lines.append(
                "Look whether the predictions are of this file, of these images, and of the same "
                "classes."
            )
        else:
            lines = [f"whether the spec is right cannot be told; {compared}."]
        if self.unnoticed:
            others = "; or ".join(self.unnoticed)
            lines.append(f"On these images it cannot be told from a spec with {others}.")
        return [*lines, *self.notes]

    def to_dict(self) -> dict[str, Any]:
        """Return the result for JSON."""
        plain = asdict(replace(self, spec=None))
        plain["spec"] = None if self.spec is None else self.spec.model_dump(mode="json")
        return plain | {"agreement": self.agreement.value, "agrees": self.agrees}


def check_expectation(
    model: Specified,
    expected: Mapping[str, ArrayLike],
    reading: Reading,
    *,
    images: Sequence[str] = (),
    unnoticed: bool = True,
    listener: Callable[[int], None] | None = None,
) -> Expectation:
    """Ask a model about images and compare with what its user expects.

    Parameters
    ----------
    model : Specified
        With the spec that is checked.
    expected : mapping of str to array of shape (n,)
        Expected probabilities by class; of two classes one is enough. 0 and 1 alone are decisions.
    reading : callable
        Gives the squares of some images, by their positions in `expected`, as a spec wants them:
        its `size`, `framing`, `crop_fraction` and `resize`.
    images : sequence of str, optional
        Names of the n images, for the one that differs most.
    unnoticed : bool
        Ask, too, which changes these images would not have shown, where the model answers exactly
        as expected; each costs a further question.
    listener : callable, optional
        Called with the number of ways that were tried, as it grows.

    Returns
    -------
    Expectation

    Raises
    ------
    SpecError
        If the classes of `expected` are not those of the spec, or it holds no probabilities.
    """
    wanted = _wanted(model.spec, expected)
    rows = _spread_over(wanted, _MOST)
    names = [images[row] if images else f"image {row + 1}" for row in rows]
    check = _Check(model, wanted[rows], rows, reading, tuple(names), unnoticed, listener)
    if len(rows) < _LEAST:
        note = f"{len(rows)} images are too few; give the predictions of at least {_LEAST}."
        return Expectation(Agreement.UNDECIDED, len(rows), check.spread, notes=(note,))
    if check.spread < _SPREAD:
        note = (
            "the expected answers hardly vary from image to image, and any spec might give them; "
            "give the predictions of images that the model answers differently."
        )
        return Expectation(Agreement.UNDECIDED, len(rows), check.spread, notes=(note,))
    return check.result()


@dataclass(frozen=True)
class _Way:
    """One way of asking and reading that was compared."""

    changes: tuple[Change, ...]
    spec: Spec
    comparison: Comparison

    @property
    def rank(self) -> tuple[int, float]:
        return len(self.changes), self.comparison.mean


class _Check:
    """The images of a check, and what was tried on them."""

    def __init__(
        self,
        model: Specified,
        wanted: NDArray[np.float64],
        rows: NDArray[np.int64],
        reading: Reading,
        names: tuple[str, ...],
        unnoticed: bool,
        listener: Callable[[int], None] | None,
    ) -> None:
        self.model, self.wanted, self.rows = model, wanted, rows
        self.reading, self.names, self.listener = reading, names, listener
        self.unnoticed = unnoticed
        self.is_hard = bool(np.isin(wanted, (0, 1)).all())
        self.spread = _spread(wanted)
        self.everything = np.arange(len(rows))
        self.few = _spread_over(wanted, _FEW)
        self.fewer = _spread_over(wanted, _FEWER)
        self.tried = 0
        self._squares: dict[tuple[Any, ...], Any] = {}

    def result(self) -> Expectation:
        """Return what agrees: the spec as it stands, with changes, or none."""
        present, problem = self.present()
        notes = [problem] if problem else []
        if self.is_hard:
            notes.append("Decisions alone were compared: what was expected holds no probabilities.")
        if present and self.agrees(present.comparison):
            return self.believed(present, notes)
        ways = list(self.ways())
        good = sorted((w for w in ways if self.agrees(w.comparison)), key=lambda w: w.rank)
        best = self.best(good)
        if best is None:
            nearest = min(ways, key=lambda w: w.comparison.mean, default=None)
            return self.summary(
                Agreement.DISAGREES, present, nearest, [*notes, *self.order(present)]
            )
        others = [
            w
            for w in good
            if w is not best
            and len(w.changes) == len(best.changes)
            and w.comparison.mean <= max(2 * best.comparison.mean, _EXACT)
            and _inputs(w) != _inputs(best)  # else another reading of the same numbers
        ]
        if others:
            words = listed([_words(w) for w in others], most=3, show=str)
            notes.append(f"As near comes it when {words}: these images cannot tell them apart.")
        return self.summary(Agreement.WHEN_CHANGED, present, best, notes)

    def present(self) -> tuple[_Way | None, str]:
        """Return the comparison by the spec as it stands, or why there is none."""
        spec = self.model.spec
        try:
            outputs = self.outputs(spec, self.everything)
            probability = spec.probabilities(outputs)
        except ModelError as error:
            return None, str(error)
        return _Way((), spec, self.compared(spec, probability, self.everything)), ""

    def believed(self, present: _Way, notes: list[str]) -> Expectation:
        """Return the result for a spec that agrees, with what these images cannot show.

        A change by which it agrees far better still is the truth: agreement by the spec as it
        stands is then near by chance, as of a crop where images are almost square.
        """
        spec, alike, better = self.model.spec, [], []
        mean = present.comparison.mean
        changes = single_changes(spec) if self.unnoticed or mean > _EXACT else ()
        for change, altered in changes:
            for way in self.read(altered, (change,), self.few, orders=False):
                if way.comparison.mean <= min(_BETTER * mean, mean - _EXACT):
                    better.append(self.confirmed(way))
                elif way.comparison.mean <= max(2 * mean, _EXACT):
                    alike.append(remedy(spec, altered))
        best = min(better, key=lambda way: way.comparison.mean, default=None)
        if best and self.agrees(best.comparison) and best.comparison.mean <= _BETTER * mean:
            notes.append("As it stands, the spec agrees too, but far less exactly.")
            return self.summary(Agreement.WHEN_CHANGED, present, best, notes)
        result = self.summary(Agreement.AGREES, present, None, [*notes, *self.repeated()])
        return replace(result, unnoticed=tuple(alike), spec=spec)

    def ways(self) -> Iterator[_Way]:
        """Yield every way that is tried: other readings, then other inputs; exact ones end it."""
        spec = self.model.spec
        exact = False
        depth = 1
        for changes, altered in [((), spec), *altered_inputs(spec)]:
            if len(changes) > depth:
                if exact:
                    return
                depth = len(changes)
            few = self.few if depth == 1 else self.fewer
            for way in self.read(altered, changes, few):
                if not way.changes:
                    continue
                if self.agrees(way.comparison):
                    way = self.confirmed(way)
                exact |= self.agrees(way.comparison) and way.comparison.mean <= _EXACT
                yield way

    def read(
        self,
        altered: Spec,
        changes: tuple[Change, ...],
        few: NDArray[np.int64],
        orders: bool = True,
    ) -> Iterator[_Way]:
        """Yield the ways of reading the answers to one way of asking, with two changes at most."""
        try:
            outputs = self.outputs(altered, few)
        except (ModelError, SpecError):
            return
        readings: list[tuple[Change, ...]] = [()]
        if orders and len(changes) < 2:
            readings += [(change,) for change in changes_of_output(altered)]
        for reading in readings:
            spec = altered if not reading else reading[0].on(altered)
            try:
                probability = spec.probabilities(outputs)
            except ModelError:
                continue
            made = (*changes, *reading)
            yield _Way(made, spec, self.compared(spec, probability, few))
            if orders and len(made) < 2:
                yield from self.reordered(made, spec, outputs, few)

    def reordered(
        self,
        changes: tuple[Change, ...],
        spec: Spec,
        outputs: NDArray[np.float64],
        few: NDArray[np.int64],
    ) -> Iterator[_Way]:
        """Yield the way in which the classes stand in the order that comes nearest."""
        order = _nearest_order(spec, outputs, self.wanted[few])
        if order is None:
            return
        other = spec.changed(**order)
        words = "the positive class is the other one"
        if len(spec.classes) > 1:
            words = f"the outputs are {', '.join(map(shown, other.classes))}, in this order"
        change = Change("classes", words, order)
        # The columns of what is expected stay in the order of the spec as it stands.
        places = [other.labels.index(label) for label in self.model.spec.labels]
        probability = other.probabilities(outputs)[:, places]
        yield _Way((*changes, change), other, self.compared(spec, probability, few))

    def confirmed(self, way: _Way) -> _Way:
        """Return a way that agrees on few images, compared on all."""
        probability = way.spec.probabilities(self.outputs(way.spec, self.everything))
        places = [way.spec.labels.index(label) for label in self.model.spec.labels]
        comparison = self.compared(self.model.spec, probability[:, places], self.everything)
        return replace(way, comparison=comparison)

    def best(self, good: list[_Way]) -> _Way | None:
        """Return the way with the fewest changes that is about as near as the nearest."""
        if not good:
            return None
        nearest = min(way.comparison.mean for way in good)
        return next(w for w in good if w.comparison.mean <= max(2 * nearest, _EXACT))

    def agrees(self, comparison: Comparison) -> bool:
        """Return whether answers are as expected, and nearer than two images are to each other."""
        close = comparison.near >= (_NEAR_HARD if self.is_hard else _NEAR)
        return close and comparison.mean <= _SHARE * self.spread

    def outputs(self, spec: Spec, few: NDArray[np.int64]) -> NDArray[np.float64]:
        key = (spec.size, spec.framing, spec.crop_fraction, spec.resize, few.tobytes())
        if key not in self._squares:
            self._squares[key] = self.reading(spec, self.rows[few])
        return self.model.with_spec(spec).outputs(*self._squares[key])

    def compared(
        self, spec: Spec, probability: NDArray[np.float64], few: NDArray[np.int64]
    ) -> Comparison:
        """Return how far probabilities of some images are from what is expected of them."""
        self.tried += 1
        if self.listener:
            self.listener(self.tried)
        wanted = self.wanted[few]
        equal = spec.decided(probability) == spec.decided(wanted)
        differences = np.abs(probability - wanted).max(axis=1)
        if self.is_hard:
            differences = np.where(equal, 0.0, 1.0)
        worst = int(differences.argmax())
        return Comparison(
            n=len(few),
            largest=float(differences[worst]),
            mean=float(differences.mean()),
            near=float((differences <= TOLERANCE).mean()),
            equal_decisions=int(equal.sum()),
            worst=self.names[few[worst]],
        )

    def repeated(self) -> list[str]:
        """Return a note where answers depend on chance, or on the other images of a batch."""
        spec, backwards = self.model.spec, self.few[::-1].copy()
        first = spec.probabilities(self.outputs(spec, self.few))
        second = spec.probabilities(self.outputs(spec, backwards))[::-1]
        apart = float(np.abs(first - second).max())
        if apart < 1e-3:
            return []
        return [
            f"The same images are answered differently in another order (by up to {apart:.2g}): "
            "dropout or batch normalization is left as in training. Export it after model.eval()."
        ]

    def order(self, present: _Way | None) -> list[str]:
        """Return a note where the answers are the expected ones, but of other images."""
        if present is None or self.is_hard:
            return []
        probability = present.spec.probabilities(self.outputs(present.spec, self.everything))
        apart = np.abs(np.sort(probability, axis=0) - np.sort(self.wanted, axis=0)).mean()
        if apart > _SHARE * _SHARE * self.spread:
            return []
        return [
            "The answers are the expected ones, but of other images: the predictions' rows belong "
            "to other files."
        ]

    def summary(
        self, agreement: Agreement, present: _Way | None, way: _Way | None, notes: list[str]
    ) -> Expectation:
        """Return the result in which `way` is what agrees or comes nearest."""
        changed = way is not None and bool(way.changes)
        return Expectation(
            agreement,
            len(self.rows),
            self.spread,
            comparison=present.comparison if present else None,
            changes=tuple(change.when for change in way.changes) if way else (),
            remedy=remedy(self.model.spec, way.spec) if way and changed else "",
            changed=way.comparison if way else None,
            spec=way.spec if way and agreement is Agreement.WHEN_CHANGED else None,
            tried=self.tried,
            notes=tuple(notes),
        )


def _inputs(way: _Way) -> list[Change]:
    return [change for change in way.changes if change.idea != "output"]


def _words(way: _Way) -> str:
    return " and ".join(change.when for change in way.changes)


def _wanted(spec: Spec, expected: Mapping[str, ArrayLike]) -> NDArray[np.float64]:
    columns = {name: np.asarray(values, dtype=np.float64) for name, values in expected.items()}
    present = [label for label in spec.labels if label in columns]
    if len(spec.labels) == 2 and len(present) == 1:
        other = next(label for label in spec.labels if label not in columns)
        columns[other] = 1 - columns[present[0]]
        present = list(spec.labels)
    if len(present) < len(spec.labels):
        raise SpecError(
            f"the predictions name {listed(list(expected), most=8)}, and the spec "
            f"{listed(spec.labels, most=8)}; call the classes alike in both."
        )
    wanted = np.column_stack([columns[label] for label in spec.labels])
    if spec.positive is not None:  # of several findings, those that are not asked do not matter
        wanted[:, 1] = 1 - wanted[:, 0]
    if not np.isfinite(wanted).all() or wanted.min() < -1e-6 or wanted.max() > 1 + 1e-6:
        raise SpecError("the predictions hold numbers that are no probabilities, 0 to 1.")
    return np.clip(wanted, 0, 1)


def _spread_over(wanted: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """Return positions of some images, evenly over their answers, in their order."""
    if len(wanted) <= most:
        return np.arange(len(wanted))
    by_answer = np.lexsort(wanted.T)
    return np.sort(by_answer[np.linspace(0, len(wanted) - 1, most).round().astype(np.int64)])


def _spread(wanted: NDArray[np.float64]) -> float:
    """Return the mean difference between two images' answers, the largest of the classes."""
    n = len(wanted)
    if n < 2:
        return 0.0
    pairs = [np.abs(wanted - np.roll(wanted, s, axis=0)).max(axis=1).mean() for s in range(1, n)]
    return float(np.mean(pairs))


def _nearest_order(
    spec: Spec, outputs: NDArray[np.float64], wanted: NDArray[np.float64]
) -> dict[str, Any] | None:
    """Return the classes in the order in which answers come nearest, or None for their own."""
    from scipy.optimize import linear_sum_assignment

    classes = list(spec.classes)
    if len(classes) == 1:
        return {"classes": [spec.negative], "positive": spec.negative, "negative": spec.positive}
    if spec.positive is None:
        probability = spec.probabilities(outputs)
        cost = np.abs(probability[:, :, None] - wanted[:, None, :]).mean(axis=0)
        place, label = linear_sum_assignment(cost)
        if (place == label).all():
            return None
        return {"classes": [classes[i] for i in label]}
    own = classes.index(spec.positive)
    singly = [spec.changed(positive=name).probabilities(outputs)[:, 0] for name in classes]
    apart = [float(np.abs(column - wanted[:, 0]).mean()) for column in singly]
    nearest = int(np.argmin(apart))
    if nearest == own:
        return None
    classes[own], classes[nearest] = classes[nearest], classes[own]
    return {"classes": classes}
