"""Verbs on encoders that hurdles did not train: their weights, or features that they gave."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hurdles.data.files import outputs

if TYPE_CHECKING:
    from hurdles.models.importing import ImportedEncoder


def import_encoder(
    file: str | Path,
    *,
    architecture: str,
    like: str,
    out: str | Path | None = None,
    license: str = "",
    origin: str = "",
    leave_out: Sequence[str] = (),
    entry: str = "",
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    force: bool = False,
) -> ImportedEncoder:
    """Bring the encoder of another library's weights to a file that `run` can start from.

    Nothing is unpickled: a whole network that was pickled is refused, with the lines that convert
    it. The encoder is taken whole or not at all; a head is left over.

    Parameters
    ----------
    file : path
        A state dict: of torch (``.pt``, ``.pth``, ``.bin``), or safetensors. A checkpoint of a
        training, with its weights in one table, will do.
    architecture : str
        The network, as hurdles names it: ``densenet-121``, ``resnet-18`` or ``resnet-50``.
    like : str
        The library whose names the entries have: ``torchvision``, ``timm``, ``torchxrayvision``,
        ``radimagenet`` or ``monai``. It also says how images were scaled.
    out : path, optional
        The file to write; default: the name of `file` with ``.encoder.safetensors``.
    license, origin : str
        What you know of the terms and of where the file is from. They go into the file and into the
        record of every run that starts from it, with the SHA-256 of `file`.
    leave_out : sequence of str
        Entries, by patterns with ``*``, that may be left over though they are no head.
    entry : str
        The table of weights, by its name, in a file with several.
    mean, std : float or three floats, optional
        How gray within [0, 1] was scaled in training, one number or one a channel; default: as the
        library does. Both or none.
    force : bool
        Replace a file that hurdles did not write; never an input.

    Returns
    -------
    ImportedEncoder
        The weights, and what became of every entry.

    Raises
    ------
    RunError
        If the file cannot be read as a plain table of weights.
    RecipeError
        If entries are missing, of another shape, or left over without being named.
    OutputError
        If the output would replace an input, or a file that hurdles did not write.

    Examples
    --------
    >>> import_encoder("nih.pt", architecture="densenet-121", like="keras")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    hurdles.errors.RecipeError: --like 'keras' is not known; there are torchvision, timm, ...
    """
    from hurdles.models.importing import imported_encoder, scaling_of
    from hurdles.training.checkpoint import save_weights

    source = Path(file)
    target = Path(out) if out is not None else source.with_suffix(".encoder.safetensors")
    with outputs(target, inputs=[source], force=force):
        encoder = imported_encoder(
            source,
            architecture=architecture,
            like=like,
            license=license,
            origin=origin,
            leave_out=leave_out,
            entry=entry,
            scaling=scaling_of(mean, std),
        )
        save_weights(target, encoder.start.weights, encoder.start.to_metadata())
    return encoder
