"""Lungs: found in images, and the network that finds them trained again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from hurdles.data.files import outputs
from hurdles.progress import Options
from hurdles.runs.images import Data, files_of, manifest_of

__all__ = ["segment", "train_lungs"]


def segment(
    images: Sequence[str | Path],
    *,
    out: str | Path,
    weights: str | Path | None = None,
    force: bool = False,
    options: Options | None = None,
) -> pd.DataFrame:
    """Find the lungs in images; the weights come with the package.

    Parameters
    ----------
    images : sequence of paths
        Radiographs, or folders of them.
    out : path
        Folder for the masks, their table and the sheets to look at; see
        `hurdles.lungs.files.segment_images`.
    weights : path, optional
        Of another lung network, as `train_lungs` writes them.
    force : bool
        Replace files that hurdles did not write; never an input.
    options : Options, optional
        What to do with unreadable files, who listens.

    Returns
    -------
    DataFrame
        One row per image; ``status`` says whether the mask can be two lungs.

    Raises
    ------
    ManifestError, ImageError, RunError
        As `hurdles.lungs.files.segment_images`.
    """
    from hurdles.lungs.files import segment_images

    options = options or Options()
    with outputs(
        folders=[out, Path(out) / "flagged"],
        inputs=[] if weights is None else [weights],
        force=force,
    ):
        return segment_images(
            images,
            out=Path(out),
            weights=None if weights is None else Path(weights),
            progress=options.progress,
            on_bad=options.on_bad,
        )


def train_lungs(
    *,
    data: Data | None = None,
    out: str | Path,
    measure: bool = False,
    other: Data | None = None,
    columns: Mapping[str, str] | None = None,
    force: bool = False,
    options: Options | None = None,
) -> Path:
    """Train the lung network again, as the shipped weights were trained.

    Parameters
    ----------
    data : Data, optional
        Images with lung masks; default: the collections of Montgomery and Shenzhen.
    out : path
        Folder of the training; gone on with if it is not finished.
    measure : bool
        Also train on each collection alone and measure everything, which takes twice as long; see
        `hurdles.lungs.results.lungs_results`.
    other : Data, optional
        Images with masks of another convention, to be measured too and not trained on.
    columns : mapping, optional
        Columns of the table of `data` -> columns of a manifest; see `hurdles.run`.
    force : bool
        Replace files that hurdles did not write; never an input.
    options : Options, optional
        Where the cache is, who listens.

    Returns
    -------
    Path
        The weights; or the page, if everything is measured.

    Raises
    ------
    ManifestError, RunError
        As `hurdles.lungs.training.train_lungs`.
    OutputError
        If an output would replace an input, or a file that hurdles did not write.
    """
    from hurdles.lungs.results import lungs_results, results_files
    from hurdles.lungs.training import train_lungs as train

    options, folder = options or Options(), Path(out)
    files = results_files(folder) if measure else []
    with outputs(*files, inputs=[*files_of(data), *files_of(other)], force=force):
        images = manifest_of(data, default="montgomery-shenzhen", columns=columns)
        if not measure:
            return train(images, folder, cache=options.cache, progress=options.progress)
        return lungs_results(
            images,
            folder,
            other=None if other is None else manifest_of(other),
            cache=options.cache,
            progress=options.progress,
        )
