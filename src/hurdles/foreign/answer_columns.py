"""Columns of a table of answers: which one is a class, a decision, the image, the truth."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.data.classes import same_class
from hurdles.data.manifest import COLUMNS
from hurdles.data.table import match_columns, whole_numbers
from hurdles.data.untrusted import listed
from hurdles.errors import ManifestError, ModelError

#: Names of a column of decisions; letters and digits only, in lower case.
_DECISIONS = frozenset(
    {"answer", "argmax", "decision", "output", "pred", "predclass", "predicted", "predictedclass",
     "predictedlabel", "prediction", "predictions", "predlabel", "result", "yhat", "ypred"}
)  # fmt: skip
#: Names that decisions have where no column has one of `_DECISIONS`; in a table of predictions
#: they are mostly the truth.
_CLASSES = frozenset({"class", "diagnosis", "finding", "label", "target"})
#: Names of a column with the probability of one class that the name does not tell.
_SCORES = frozenset(
    {"p", "positive", "ppositive", "prob", "proba", "probabilities", "probability", "probs",
     "score", "scores", "sigmoid", "yproba", "yprob", "yscore"}
)  # fmt: skip
#: What programs write around the name of a class.
_AROUND = re.compile(
    r"^(?:p|probs?|proba|probability|probabilities|scores?|pred|predictions?|softmax|outputs?)"
    r"(?:[\s:_.-]+(?:of[\s_]+)?|\s*\((?=.*\)$))|[\s:_.-]+(?:p|probs?|proba|probability|scores?)$|\)$",
    re.IGNORECASE,
)
#: Columns that a table with the truth may have beside it, in the manifest's names.
_BESIDE = ("patient", "source", "view", "sex", "age", "split")


class AnswerColumns:
    """The meaning of a table's columns: `places` by our names, classes as ``p:<class>``.

    `wanted` maps a column to one of our names where the caller knows, `has_images` says whether
    the images are known apart from the table, `may_hold_truth` whether the true class may stand in
    it although nobody asks for it. Raises `ModelError` where nobody could tell.
    """

    def __init__(
        self,
        path: Path,
        heads: Sequence[str],
        cells: pd.DataFrame,
        labels: Sequence[str] | None,
        *,
        positive: str | None,
        wanted: Mapping[str, str],
        truth: bool,
        has_images: bool,
        may_hold_truth: bool = False,
    ) -> None:
        self.path, self.heads, self.cells = path, list(heads), cells
        self.positive, self.truth, self.has_images = positive, truth, has_images
        self.may_hold_truth = may_hold_truth
        self.places = self.requested(wanted)
        self.unused = {i for i, head in enumerate(self.heads) if wanted.get(head) == ""}
        self.is_hard = False
        if truth:
            self.match_manifest()
        self.labels = self.classes(labels)
        self.refuse_unknown()
        self.match_classes()

    def error(self, message: str) -> ModelError:
        """Return an error that names the table."""
        return ModelError(f"{self.path}: {message}.")

    def requested(self, wanted: Mapping[str, str]) -> dict[str, int]:
        """Return the places of the columns that the caller named."""
        places = {}
        for theirs, ours in wanted.items():
            if theirs not in self.heads:
                raise self.error(f"there is no column {theirs!r}; it has {self.listed()}")
            if ours in places:
                raise self.error(f"two columns are to be {ours!r}; name one")
            if ours:
                ours = {"path": "image"}.get(ours, ours)
                places[ours] = self.heads.index(theirs)
        return places

    def refuse_unknown(self) -> None:
        """Refuse names that the caller wants columns to have, and that nothing here has."""
        ours = [*COLUMNS, "prediction", *(f"p:{label}" for label in self.labels)]
        for name, place in self.places.items():
            if name not in ours:
                raise self.error(
                    f"{self.heads[place]!r} is to be {name!r}, and nothing is called that; there "
                    f"are {', '.join(ours)}"
                )

    def match_manifest(self) -> None:
        """Find the truth and what stands beside it."""
        ours = ("label", *_BESIDE)
        taken = {self.heads[i]: "" for i in {*self.places.values(), *self.unused} if self.heads[i]}
        try:
            match = match_columns(self.heads, taken)
        except ManifestError as error:
            raise self.error(str(error).rstrip(".")) from error
        for name in ours:
            if name in self.places:
                continue
            if name in match.rivals:
                rivals = [self.heads[i] for i in match.rivals[name]]
                raise self.error(
                    f"the columns {', '.join(map(repr, rivals))} can all be the {name}; say which, "
                    f"as in --column '{rivals[0]}={name}'"
                )
            if name in match.places:
                self.places[name] = match.places[name]
        self.unused |= {*match.private}
        for place in match.places.get("image"), match.places.get("path"):
            if not self.has_images and place is not None and "image" not in self.places:
                self.places["image"] = place
        if "label" not in self.places:
            raise self.error(
                f"no column is the true class; it has {self.listed()}. Say which, as in --column "
                "'THEIRS=label', or give the images with their classes by --data"
            )

    def classes(self, labels: Sequence[str] | None) -> tuple[str, ...]:
        """Return the classes that were given, else those of the truth and of columns ``p:``."""
        if labels is None:
            if not self.truth:
                raise self.error("without the truth it does not say what the classes are")
            place = self.places["label"]
            self.cells[place] = whole_numbers(self.cells[place])
            own = {head[2:].strip() for head in self.heads if head.startswith("p:")}
            labels = sorted({cell for cell in self.cells[place].tolist() if cell} | own)
        if len(labels) < 2 or len(set(labels)) < len(labels):
            raise self.error(f"a model tells two or more classes apart, not {listed(labels, 8)}")
        if self.positive is not None and self.positive not in labels:
            raise self.error(f"the positive class {self.positive!r} is none of {', '.join(labels)}")
        return tuple(labels)

    def free(self) -> list[int]:
        """Return the places of the columns that have no meaning yet."""
        used = {*self.places.values(), *self.unused}
        return [place for place in range(len(self.heads)) if place not in used]

    def match_classes(self) -> None:
        """Find the columns of probabilities, or of decisions."""
        for spelling in (lambda h: h, lambda h: _AROUND.sub("", h), _bare, _whole):
            self.match_spelled(spelling)
        missing = [label for label in self.labels if f"p:{label}" not in self.places]
        if "prediction" not in self.places:
            self.match_decisions(_DECISIONS)
        if not missing:
            return
        if len(self.labels) == 2 and len(missing) == 1:
            self.positive = next(label for label in self.labels if label not in missing)
            return
        if len(missing) == len(self.labels):
            if len(self.labels) == 2 and self.match_score():
                return
            if "prediction" not in self.places:
                self.match_decisions(_CLASSES - ({"label"} & {*self.places}))
                self.refuse_truth()
            if "prediction" in self.places:
                self.is_hard = True
                return
        raise self.error(self.without_columns(missing))

    def match_spelled(self, spelling: Callable[[str], str]) -> None:
        """Match what is free yet with classes that have no column yet, by one spelling of both."""
        names: dict[str, list[int]] = {}
        for place in self.free():
            names.setdefault(spelling(self.heads[place]), []).append(place)
        plain = Counter(spelling(label) for label in self.labels)
        for label in self.labels:
            places = names.get(spelling(label), [])
            if f"p:{label}" in self.places or not places or plain[spelling(label)] > 1:
                continue
            if len(places) > 1:
                alike = ", ".join(repr(self.heads[i]) for i in places)
                raise self.error(
                    f"the columns {alike} can all be the class {label!r}; keep one, or name it "
                    f"'p:{label}'"
                )
            self.places[f"p:{label}"] = places[0]

    def match_decisions(self, called: frozenset[str]) -> None:
        """Find a column of decisions: by its name, and by classes in its cells."""
        known = {same_class(label) for label in self.labels} | {""}
        by_name = [p for p in self.free() if _plain(self.heads[p]) in called]
        for place in by_name:
            cells = whole_numbers(self.cells[place])
            if {same_class(cell) for cell in cells.unique().tolist()} <= known:
                self.places["prediction"], self.cells[place] = place, cells
                return

    def refuse_truth(self) -> None:
        """Refuse decisions that may as well be the truth."""
        if self.may_hold_truth and "prediction" in self.places:
            head = self.heads[self.places["prediction"]]
            raise self.error(
                f"it has no probabilities, and {head!r} may be the true class or what the model "
                f"says. If the model says so: --column '{head}=prediction'"
            )

    def match_score(self) -> bool:
        """Find one column with the probability of the positive class."""
        named = [p for p in self.free() if _plain(self.heads[p]) in _SCORES | _DECISIONS]
        numeric = [p for p in named if not np.isnan(numbers(self.cells[p])).all()]
        if not numeric:
            return False
        head = self.heads[numeric[0]]
        if len(numeric) > 1:
            alike = ", ".join(repr(self.heads[p]) for p in numeric)
            raise self.error(
                f"the columns {alike} can all be the probability; call the right one by its class"
            )
        if self.positive is None:
            raise self.error(
                f"which class is {head!r} the probability of? Call the column by the class "
                f"({' or '.join(map(repr, self.labels))}), or name the positive one: "
                f"--positive '{self.labels[-1]}'"
            )
        self.places["score"] = numeric[0]
        return True

    def without_columns(self, missing: Sequence[str]) -> str:
        """Return what to say of classes without a column."""
        free = [self.heads[i] for i in self.free() if self.heads[i]]
        near = {
            label: difflib.get_close_matches(label.casefold(), [h.casefold() for h in free], 1, 0.5)
            for label in missing
        }
        hints = [f"{near[label][0]!r} looks like {label!r}" for label in missing if near.get(label)]
        if any(h.strip().isdigit() or re.fullmatch(r"(?i)\w*[_ ]?\d+", h) for h in free):
            hints.append("numbers do not say which class is which")
        for place in self.free():
            if _plain(self.heads[place]) in _DECISIONS:
                cells = sorted({*self.cells[place]})
                hints.append(
                    f"the cells of {self.heads[place]!r} are {listed(cells)}, not names of classes"
                )
        some = "; ".join(hints)
        is_table = self.truth or self.may_hold_truth
        more = (
            f", or say which is which, as in --column 'THEIRS=p:{missing[0]}'" if is_table else ""
        )
        if self.truth and len(missing) < len(self.labels) > 2:
            more += (
                "; or name the classes of the model by --class, and images of others count as wrong"
            )
        return (
            f"no column is the probability of {', '.join(map(repr, missing))}; it has "
            f"{self.listed()}{f' ({some})' if some else ''}. Write one column per class, each "
            f"called by its class{more}"
        )

    def listed(self) -> str:
        """Return the headings as a message names them."""
        return listed(self.heads, 12)

    def left_over(self) -> list[str]:
        """Return the columns that hold something and are not used."""
        return [self.heads[p] for p in self.free() if self.heads[p] and any(self.cells[p])]


def _plain(heading: str) -> str:
    return "".join(c for c in heading.casefold() if c.isalnum())


def _bare(heading: str) -> str:
    return same_class(_AROUND.sub("", heading)).replace("-", "").replace("_", "")


def _whole(heading: str) -> str:
    """Return the number of a class without the decimals that a table of numbers gives it."""
    return re.sub(r"^(\d+)\.0+$", r"\1", _AROUND.sub("", heading))


def numbers(cells: pd.Series[str]) -> NDArray[np.float64]:
    """Return cells as numbers, decimal commas and percent signs too; NaN where one is none."""
    plain = _plain_numbers(cells)
    if plain is not None:
        return plain
    texts = cells.tolist()
    try:
        return np.array(texts, dtype=object).astype("float64")
    except ValueError:  # some are written otherwise
        pass

    def number(cell: str) -> float:
        text = cell.replace(",", ".") if cell.count(",") == 1 and "." not in cell else cell
        try:
            return float(text[:-1]) / 100 if text.endswith("%") else float(text)
        except ValueError:
            return float("nan")

    return np.array([number(cell) for cell in texts], dtype="float64")


def _plain_numbers(cells: pd.Series[str]) -> NDArray[np.float64] | None:
    """Return cells as numbers in a fraction of the time; None where Arrow knows not all of them."""
    import pyarrow as pa

    try:
        return np.array(pa.array(cells, pa.large_string()).cast(pa.float64()))
    except pa.ArrowInvalid:
        return None
