"""Verbs on models from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hurdles.data.files import outputs, write_text

if TYPE_CHECKING:
    from hurdles.foreign.spec import Spec


def spec(
    like: str | None = None,
    *,
    model: str | Path | None = None,
    classes: Sequence[str] = (),
    size: int | None = None,
    out: str | Path | None = None,
    force: bool = False,
) -> Spec:
    """Write a start of the spec of a model from elsewhere, which says how it takes a radiograph.

    Parameters
    ----------
    like : {"torchvision", "torchxrayvision", "keras", "monai"}, optional
        Library whose conventions are taken.
    model : path, optional
        ONNX file: size, channels, layout, outputs and, where the last operator tells, the kind of
        the answers are taken from it. A file of `hurdles export` brings its spec along.
    classes : sequence of str, optional
        Names of the outputs, in their order. Of a model with one output: the other class first,
        as Keras sorts folders.
    size : int, optional
        Side of the square input, in pixels, where the file leaves it open.
    out : path, optional
        Where to write it, as TOML: each field below its sentence, to be corrected by hand.
    force : bool
        Replace a file that hurdles did not write.

    Returns
    -------
    Spec
        See `hurdles.foreign.spec.Spec`.

    Raises
    ------
    SpecError
        If neither `like` nor `model` is given, or the classes are not as many as the outputs.
    ModelError
        If the file is no ONNX file, or is damaged.

    Examples
    --------
    >>> import hurdles
    >>> hurdles.spec("torchvision", classes=["Normal", "Pneumonia"]).crop_fraction
    0.875
    """
    from hurdles.foreign.onnx_file import OnnxFile
    from hurdles.foreign.starts import heading_of, start_of

    with outputs(out, force=force):
        file = None if model is None else OnnxFile(model, threads=1)
        start = start_of(like, model=file, classes=classes, size=size)
        if out is not None:
            write_text(out, start.to_toml(heading_of(start, like)))
    return start
