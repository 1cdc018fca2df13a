"""Verbs for those who are given a result: is it what it was, and how is it shown in a word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hurdles.data.files import outputs, write_text
from hurdles.data.manifest import Manifest
from hurdles.findings.table import Findings
from hurdles.progress import Options
from hurdles.runs.images import Data, classified, classified_apart, title_of

if TYPE_CHECKING:
    from hurdles.verifying.verification import Verification


def verify(
    path: str | Path,
    *,
    against: Sequence[str | Path] = (),
    data: Data | None = None,
    labels: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    join_patients: bool = False,
    options: Options | None = None,
) -> Verification:
    """Hold a result against its schema, its own limits, its page and its inputs.

    Nothing is trained and no number is measured again, but for the measures of an evaluation whose
    predictions are at hand. What could not be checked is never said to agree.

    Parameters
    ----------
    path : path
        JSON of findings or of an evaluation; a page of findings or a report; or a run's folder,
        in which everything is verified that is there.
    against : sequence of path
        Files and folders among which inputs are looked for by content and by name: a table,
        predictions, a model, a run. A file that is no input of the result differs. For a page,
        a JSON file that it is held against instead of the one beside it. What lies in the folder
        of `path` need not be named.
    data : Data, optional
        The images, as they were given to `check`, `audit` or `evaluate`.
    labels, columns : mapping, optional
        As they were given there.
    join_patients : bool
        As it was given there.
    options : Options, optional
        Where the cache is: images that it knows are not read again.

    Returns
    -------
    Verification
        A line for each comparison: agrees, differs, or could not be checked.

    Raises
    ------
    EvaluationError
        If a path is not there, or the file holds nothing that this version knows.
    RunError
        If a folder holds no run.
    """
    from hurdles.verifying.result import verified

    images: dict[str, Manifest] = {}
    if data:
        images = classified_apart(data, labels=labels, columns=columns, unlabeled=True)
        if len(images) > 1 or join_patients:  # together, as check takes them
            images[title_of(data)] = classified(
                data, labels=labels, columns=columns, join_patients=join_patients, unlabeled=True
            )
    return verified(
        Path(path),
        against=[Path(each) for each in against],
        images=images,
        cache=(options or Options()).cache,
    )


def badge(path: str | Path, *, out: str | Path, force: bool = False) -> Path:
    """Draw a small picture that says how many hurdles are hit, for a page of one's own.

    Parameters
    ----------
    path : path
        JSON of findings, as `check` and `audit` write it.
    out : path
        The picture (.svg); it fetches nothing, and no color of it says that all is well.
    force : bool
        Replace files that hurdles did not write; never an input.

    Returns
    -------
    Path
        The picture.

    Raises
    ------
    EvaluationError
        If the file holds no findings.
    OutputError
        If the picture would replace an input, or a file that hurdles did not write.
    """
    from hurdles.reporting.badge import badge_svg

    with outputs(out, inputs=[path], force=force):
        write_text(out, badge_svg(Findings.load(path)))
        return Path(out)
