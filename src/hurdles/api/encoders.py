"""Verbs on encoders that hurdles did not train: their weights, or features that they gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hurdles.data.files import outputs
from hurdles.data.vocabulary import MissingPatients, SplitScheme
from hurdles.errors import RunError
from hurdles.progress import Options
from hurdles.recipe.recipe import parsed_recipe
from hurdles.runs.encoders import TrainedOn
from hurdles.runs.images import Data, classified, files_of, parts_of

if TYPE_CHECKING:
    from hurdles.models.importing import ImportedEncoder
    from hurdles.runs.heads import FittedHead


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


def fit_head(
    features: str | Path,
    *,
    data: Data,
    out: str | Path,
    ids: str | Path | None = None,
    encoder: str = "",
    labels: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    split: str = SplitScheme.AUTO.value,
    seed: int = 0,
    missing_patients: str = MissingPatients.REFUSE.value,
    join_patients: bool = False,
    trained_on: TrainedOn | str | Path = (),
    keep_seen: bool = False,
    force: bool = False,
    options: Options | None = None,
) -> FittedHead:
    """Fit a linear head on features of an encoder that hurdles does not have, and test it.

    The features are yours: a row for each image, computed by any program, the encoder frozen. A
    multinomial logistic regression is trained on the training images, its penalty chosen on the
    validation images, and the test images are judged with intervals by patient.

    Parameters
    ----------
    features : path
        ``.npy`` or ``.npz`` without pickles, CSV or Parquet: finite numbers of shape (N, D).
    data : Data
        The images with their classes, patients and, where it is given, their split; see `run`.
    out : path
        Folder for the predictions, the measures and the head; see `hurdles.runs.heads.FittedHead`.
    ids : path, optional
        The names of the rows' images, a line each, where `features` does not hold them. Without
        any, there has to be one row for each image, in the order of `data`.
    encoder : str, optional
        What a reader calls the encoder; default: after the file.
    labels, columns : mapping, optional
        As for `run`.
    split : str
        As ``split.scheme`` of a recipe: ``auto`` is the split that the images bring, else by
        patient.
    seed : int
        Seed of the split.
    missing_patients : str
        ``refuse``, or ``one-each``: an image without a patient is one of its own.
    join_patients : bool
        Equal patient ids are one person, whatever their source.
    trained_on : sequence of path or Manifest
        Images that the encoder was trained on; test images among them are left out. As for `run`.
    keep_seen : bool
        Keep test images that the encoder has seen; the notes say so.
    force : bool
        Replace files that hurdles did not write; never an input.
    options : Options, optional
        Where the cache is, who listens.

    Returns
    -------
    FittedHead
        The head, the evaluation, and where the files lie.

    Raises
    ------
    ModelError
        If the features cannot be read, are not of these images, or tell nothing.
    ManifestError, SplitError
        If the images cannot be parted.
    RunError
        If the encoder has seen all test images of a class.
    OutputError
        If an output would replace an input, or a file that hurdles did not write.
    """
    from hurdles.runs.heads import fit_head as fit
    from hurdles.runs.heads import head_files

    folder, file = Path(out), Path(features)
    if (folder / "recipe.toml").is_file():
        raise RunError(f"{folder} holds a run, whose files a head would replace; give another out.")
    section = {"scheme": split, "seed": seed, "missing_patients": missing_patients}
    recipe = parsed_recipe({"name": "linear head", "split": section}, "of a linear head")
    inputs = [file, *files_of(data), *([] if ids is None else [Path(ids)])]
    with outputs(*head_files(folder), inputs=inputs, force=force):
        images = classified(data, labels=labels, columns=columns, join_patients=join_patients)
        return fit(
            file,
            images,
            folder,
            recipe=recipe,
            ids=None if ids is None else Path(ids),
            encoder=encoder,
            trained_on=parts_of(trained_on),
            keep_seen=keep_seen,
            options=options or Options(),
        )
