"""What a report is made of: everything that it shows, as typed fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.copies.copies import Copies
from hurdles.data.manifest import Manifest
from hurdles.errors import EvaluationError
from hurdles.evaluation.comparisons import Comparison
from hurdles.evaluation.evaluation import Evaluation
from hurdles.evaluation.predictions import Predictions
from hurdles.findings.table import Findings
from hurdles.training.history import COLUMNS as HISTORY


@dataclass(frozen=True, eq=False)
class SheetItem:
    """One radiograph of a contact sheet.

    Parameters
    ----------
    image : str
        Its name in the manifest.
    pixels : uint8 array of shape (H, W)
        The radiograph as the network saw it.
    heat : float32 array of shape (H, W) or smaller, or None
        Where the network looked; higher is warmer, at most zero is cold. A map that is empty or
        not finite is named in the caption instead of drawn.
    true, predicted : str
        Classes.
    probability : float
        Of the predicted class, 0 to 1.
    message : str
        Why there is no heat-map, where `heat` is None.
    """

    image: str
    pixels: NDArray[np.uint8]
    heat: NDArray[np.floating] | None
    true: str
    predicted: str
    probability: float
    message: str = ""

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 2 or not self.pixels.size:
            raise EvaluationError(
                f"pixels of {self.image!r} are {self.pixels.dtype} of shape {self.pixels.shape}; "
                "a contact sheet takes uint8 of shape (H, W)."
            )


@dataclass(frozen=True, eq=False)
class Sheet:
    """A titled row of radiographs, e.g. the COVID-19 images that were named wrongly.

    Parameters
    ----------
    title : str
        What they have in common.
    items : sequence of SheetItem
        May be empty: the report then says that there is none.
    note : str
        How these few were chosen from how many.
    """

    title: str
    items: Sequence[SheetItem]
    note: str = ""


@dataclass(frozen=True, eq=False)
class ReportContent:
    """All that one report shows. Text may hold anything: it is escaped on the way to the page.

    Parameters
    ----------
    title : str
        Name of the experiment.
    research_sentence : str
        What was asked, in one sentence.
    manifest : Manifest
        Every image of the experiment, with its split, and the files left out. For an evaluation on
        a further collection: the images of that collection.
    evaluation : Evaluation
        Measures with intervals, made from `predictions`.
    predictions : Predictions
        One row per evaluated image.
    history : DataFrame, optional
        Columns as in `hurdles.training.history.COLUMNS`; None where nothing was trained.
    chosen_epoch : int, optional
        The epoch whose weights were kept.
    sheets : sequence of Sheet
        Heat-maps.
    heat_method : str
        How they were made, e.g. ``"Grad-CAM on the last convolution"``.
    recipe : mapping
        The experiment, nested plain values.
    recipe_notes : mapping of str to str
        A sentence for a field, by its dotted name, e.g. ``"training.batch_size"``.
    warnings : sequence of str
        What a reader must know before the numbers; shown on the first screen. What the report can
        see for itself (see `hurdles.reporting.answer.own_warnings`) is added to them.
    comparisons : mapping of str to sequence of Comparison
        Name of another model to what differs; in each, this model is ``a`` and the other ``b``.
    environment : mapping
        Versions, machine, commit, times.
    links : mapping of str to str
        Text to address (http or https), for citations. Nothing is loaded from them.
    copies : Copies, optional
        Copies among the images, if they were looked for; None where they were not.
    findings : Findings, optional
        What the hurdles found; shown as a section of its own, its answer on the first screen.
    thumbnails : mapping of str to uint8 array of shape (H, W)
        Pixels of images that are evidence of a finding, by name.
    language : str
        BCP 47 tag of the page.
    """

    title: str
    research_sentence: str
    manifest: Manifest
    evaluation: Evaluation
    predictions: Predictions
    history: pd.DataFrame | None = None
    chosen_epoch: int | None = None
    sheets: Sequence[Sheet] = ()
    heat_method: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    recipe_notes: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    comparisons: Mapping[str, Sequence[Comparison]] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    copies: Copies | None = None
    findings: Findings | None = None
    thumbnails: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    language: str = "en-GB"

    def __post_init__(self) -> None:
        if self.history is not None:
            missing = [c for c in HISTORY if c not in self.history]
            if missing:
                raise EvaluationError(
                    f"the history lacks {', '.join(map(repr, missing))}; a report needs "
                    f"{', '.join(HISTORY)}."
                )
        for text, address in self.links.items():
            if not address.startswith(("https://", "http://")):
                raise EvaluationError(
                    f"link {text!r} goes to {address!r}; give an http or https address."
                )
