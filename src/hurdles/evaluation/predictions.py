"""The table of predictions: one row per image, probabilities beside the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.data.files import write_text
from hurdles.data.manifest import UNKNOWN, Manifest
from hurdles.data.untrusted import as_csv, from_cells
from hurdles.errors import EvaluationError

__all__ = ["COLUMNS", "Predictions", "align", "argmax_prediction"]

#: Columns before the probabilities, which are called ``p:<class>`` and sum to one (+-1e-3).
COLUMNS: dict[str, str] = {
    "image": "unique name of the image, as in the manifest",
    "path": "absolute path of the file",
    "group": "the unit of every interval: one patient of one source",
    "source": "collection or hospital; empty where not known",
    "label": "true class",
    "prediction": "predicted class: the most probable one, or by a threshold fixed on validation",
}
_PREFIX = "p:"


@dataclass(frozen=True, eq=False)
class Predictions:
    """Answers of a model about each image of a set, and the truth.

    Parameters
    ----------
    frame : DataFrame
        Columns as in `COLUMNS`, then one ``p:<class>`` per class, each within [0, 1].

    Raises
    ------
    EvaluationError
        If a column is missing, a name is empty, a predicted class has no probabilities, a
        probability is outside [0, 1] or not a number, the rows do not sum to one, an image stands
        twice, or there is no row at all.

    Examples
    --------
    >>> table = Predictions.from_arrays(["COVID-19", "Normal"], y_true=["Normal", "Normal"],
    ...     y_prob=np.array([[0.1, 0.9], [0.7, 0.3]]), images=["a", "b"], groups=["p1", "p2"])
    >>> table.y_pred.tolist()
    ['Normal', 'COVID-19']
    """

    frame: pd.DataFrame

    def __post_init__(self) -> None:
        _check(self.frame)

    @classmethod
    def from_arrays(
        cls,
        classes: Sequence[str],
        *,
        y_true: Sequence[str],
        y_prob: NDArray[np.floating],
        images: Sequence[str],
        groups: Sequence[str],
        sources: Sequence[str | None] | None = None,
        paths: Sequence[str] | None = None,
    ) -> Predictions:
        """Build the table; the predicted class is the most probable one.

        Parameters
        ----------
        classes : sequence of str
            Names of the columns of `y_prob`.
        y_true : sequence of str
            True classes, n of them. A class that the model does not know is allowed: its images
            count as wrong.
        y_prob : array of shape (n, len(classes))
            Probabilities.
        images, groups, sources, paths : sequences of n
            As in `COLUMNS`.

        Raises
        ------
        EvaluationError
            If `y_prob` has another shape, or the table breaks a rule of `Predictions`.
        """
        n = len(y_true)
        probabilities = np.asarray(y_prob, dtype="float64")
        if probabilities.shape != (n, len(classes)):
            raise EvaluationError(
                f"y_prob has shape {probabilities.shape}; {n} images and {len(classes)} classes "
                f"need ({n}, {len(classes)})."
            )
        frame = pd.DataFrame(
            {
                "image": list(images),
                "path": list(paths) if paths is not None else list(images),
                "group": list(groups),
                "source": list(sources) if sources is not None else [None] * n,
                "label": list(y_true),
                "prediction": argmax_prediction(classes, probabilities),
            },
            dtype="str",
        )
        for column, name in enumerate(classes):
            frame[_PREFIX + name] = probabilities[:, column]
        return cls(frame)

    @classmethod
    def of_images(
        cls, images: Manifest, classes: Sequence[str], y_prob: NDArray[np.floating]
    ) -> Predictions:
        """Build the table of images that a manifest names; otherwise as `from_arrays`."""
        frame = images.frame
        return cls.from_arrays(
            classes,
            y_true=frame["label"].tolist(),
            y_prob=y_prob,
            images=frame["image"].tolist(),
            groups=images.groups.tolist(),
            sources=frame["source"].astype(object).where(frame["source"].notna(), None).tolist(),
            paths=frame["path"].tolist(),
        )

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def classes(self) -> list[str]:
        """The classes that the model knows, in the order of its outputs."""
        return [c.removeprefix(_PREFIX) for c in self.frame.columns if c.startswith(_PREFIX)]

    @property
    def y_true(self) -> NDArray[np.str_]:
        """True classes, shape (n,)."""
        return self.frame["label"].to_numpy(dtype=str)

    @property
    def y_pred(self) -> NDArray[np.str_]:
        """Predicted classes, shape (n,)."""
        return self.frame["prediction"].to_numpy(dtype=str)

    @property
    def y_prob(self) -> NDArray[np.float64]:
        """Probabilities, shape (n, classes), in the order of `classes`."""
        return self.frame[[_PREFIX + c for c in self.classes]].to_numpy(dtype="float64")

    @property
    def groups(self) -> NDArray[np.str_]:
        """The patient behind each image, shape (n,)."""
        return self.frame["group"].to_numpy(dtype=str)

    @property
    def unknown(self) -> NDArray[np.bool_]:
        """True where the patient is not known, shape (n,): such an image is a group by itself."""
        return self.frame["group"].str.startswith(UNKNOWN).to_numpy(dtype=bool)

    def save(self, path: str | Path) -> Path:
        """Write the table to `path` as CSV and return the path."""
        write_text(path, as_csv(self.frame))
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Predictions:
        """Read a table that `save` wrote."""
        text = dict.fromkeys(COLUMNS, "str")
        empty = {"source": [""]}
        frame = pd.read_csv(path, dtype=text, keep_default_na=False, na_values=empty)
        return cls(from_cells(frame))


def argmax_prediction(classes: Sequence[str], y_prob: NDArray[np.floating]) -> NDArray[np.str_]:
    """Return the most probable class of each row; of equals, the first."""
    names: NDArray[np.str_] = np.asarray(classes, dtype=str)[np.argmax(y_prob, axis=1)]
    return names


def align(a: Predictions, b: Predictions) -> Predictions:
    """Return `b` in the order of `a`.

    Parameters
    ----------
    a, b : Predictions
        Of the same images, in any order.

    Raises
    ------
    EvaluationError
        If they are of different images, labels or patients; the message names some.
    """
    first, second = a.frame.set_index("image"), b.frame.set_index("image")
    only_a, only_b = first.index.difference(second.index), second.index.difference(first.index)
    if len(only_a) or len(only_b):
        raise EvaluationError(
            f"the tables are of different images: {_some(only_a)} only in the first, "
            f"{_some(only_b)} only in the second. Compare runs on the same images; where tables "
            "spell their names in two ways, give the images by --data."
        )
    second = second.loc[first.index]
    for column, what in (("label", "labels"), ("group", "patients")):
        differ: NDArray[np.bool_] = (first[column] != second[column]).to_numpy()
        if differ.any():
            name = first.index[differ][0]
            ends = " and ".join(_shown(each[column].loc[name]) for each in (first, second))
            raise EvaluationError(
                f"the tables give {int(differ.sum())} images different {what}, e.g. {name!r}: "
                f"{ends}. Make both from one manifest; of tables, give the images by --data."
            )
    return Predictions(second.reset_index())


def _shown(name: str) -> str:
    """Return a label or patient as a reader knows it: of a source, or unknown."""
    if name.startswith(UNKNOWN):
        return "no patient"
    return repr(name.replace("\x1f", ": ").removeprefix(": "))


def _some(names: Any) -> str:
    shown = ", ".join(repr(str(n)) for n in names[:3])
    return f"{len(names)} ({shown}{', ...' if len(names) > 3 else ''})" if len(names) else "none"


def _check(frame: pd.DataFrame) -> None:
    missing = [c for c in COLUMNS if c not in frame]
    names = [c for c in frame.columns if c.startswith(_PREFIX)]
    if missing or not names:
        what = ", ".join(map(repr, missing)) or "a p:<class> column"
        raise EvaluationError(f"predictions lack {what}; see Predictions.from_arrays.")
    if frame.empty:
        raise EvaluationError(
            "there are no predictions: the set is empty. Give at least one image."
        )
    if frame["image"].duplicated().any():
        twice = frame["image"][frame["image"].duplicated()].iloc[0]
        raise EvaluationError(f"image {twice!r} is predicted twice; every image counts once.")
    for column in ("image", "group", "label", "prediction"):
        empty = (frame[column].isna() | (frame[column] == "")).to_numpy()
        if empty.any():
            raise EvaluationError(
                f"{column!r} is empty for image {frame['image'].to_numpy()[empty][0]!r} and "
                f"{int(empty.sum()) - 1} others; every image needs one."
            )
    classes = [name.removeprefix(_PREFIX) for name in names]
    strange = frame[~frame["prediction"].isin(classes)]
    if len(strange):
        row = strange.iloc[0]
        raise EvaluationError(
            f"{row['prediction']!r}, predicted for image {row['image']!r}, is not a class of the "
            f"model; its classes are {', '.join(classes)}."
        )
    for name in names:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            raise EvaluationError(f"the values of {name!r} are not numbers; give probabilities.")
    probabilities = frame[names].to_numpy(dtype="float64")
    valid = ((probabilities >= 0) & (probabilities <= 1)).all(axis=1)  # false for NaN
    if not valid.all():
        bad = int(np.flatnonzero(~valid)[0])
        raise EvaluationError(
            f"probabilities of image {frame['image'].iloc[bad]!r} are "
            f"{probabilities[bad].tolist()}; each must be a number between 0 and 1."
        )
    if (np.abs(probabilities.sum(axis=1) - 1) > 1e-3).any():
        raise EvaluationError("the probabilities of an image must sum to one.")
