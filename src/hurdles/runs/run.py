"""A run: the folder that holds one experiment, whole or visibly unfinished."""

from __future__ import annotations

import filecmp
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from hurdles._version import USE
from hurdles.copies.finder import Copies
from hurdles.data.files import locked, write_text
from hurdles.data.manifest import COLUMNS, JOINED, Manifest
from hurdles.data.untrusted import notebook_table
from hurdles.data.vocabulary import Split, SplitScheme
from hurdles.errors import HurdlesError, RunError
from hurdles.evaluation.evaluation import Evaluation
from hurdles.evaluation.folds import FoldAnswers
from hurdles.evaluation.predictions import Predictions
from hurdles.models import ModelSpec, build
from hurdles.models.starting import StartingWeights
from hurdles.recipe.choices import ChosenEpoch
from hurdles.recipe.images import remarks
from hurdles.recipe.recipe import Recipe, load_recipe
from hurdles.runs.seals import reading, require_version, require_whole, seal
from hurdles.training.checkpoint import load_metadata, load_weights, save_weights
from hurdles.training.history import History

if TYPE_CHECKING:
    from hurdles.models.network import Network
    from hurdles.training.loop import Trained

__all__ = ["Run"]

#: Of k-fold, the answers of all folds, by their place in the run's folder.
FOLD_ANSWERS = "folds/predictions.csv"


class Run:
    """One experiment's folder.

    ====================== ======================================================================
    file                   content
    ====================== ======================================================================
    recipe.toml            the recipe, every field written out
    given.csv              the images as they were given, with the split that they brought, if any
    folds.csv              of k-fold: the fold in which each image is tested
    folds/1, 2 ...         of k-fold: a run for each fold; folds/predictions.csv: all their answers
    manifest.csv           the images with their split (and manifest.exclusions.csv: those left out)
    history.csv            one row per epoch
    weights/best, last     safetensors, with what they need to be fed rightly
    copies.csv             pairs of its images that show one radiograph
    hashes.npz             three hashes of each of its images, by which copies are known again
    encoder.json           what test images were held against, of an encoder from elsewhere
    encoder.npz            hashes of the images that this encoder has seen, as far as they are known
    fingerprints.csv       hashes of the pixels trained and chosen on, to know them again
    predictions/*.csv      one row per image, for each set
    threshold.json         from which probability on an image is positive, if the recipe asks for it
    evaluation.json        measures on the test split, with intervals
    heatmaps.npz           what the report's contact sheets show: patients' pixels
    report.html            the report
    refusal/               from the first prediction on: images unlike these are not answered
    model.onnx, .toml      if it was exported there
    .written               hashes of its pages and of what was found later: hurdles wrote them
    meta.json              written last: the run is finished; versions, machine, hashes
    state.safetensors      only while training: where to go on
    start.safetensors      only while training: the encoder that it starts from, if from elsewhere
    ====================== ======================================================================

    Every file is written beside and renamed into place. Constructing a Run reads nothing.

    Parameters
    ----------
    path : str or Path
        The folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.report_path = self.path / "report.html"
        #: Where it stands which pages, and which files of further sets, hurdles wrote.
        self.ledger = self.path / ".written"
        #: Hashes of the images that the run was trained or chosen on.
        self.fingerprints_path = self.path / "fingerprints.csv"
        #: Pairs of its images that show one radiograph.
        self.copies_path = self.path / "copies.csv"
        #: Hashes of what its images show, by their rows in the manifest.
        self.hashes_path = self.path / "hashes.npz"
        #: What the test images were held against, and hashes of what the encoder has seen.
        self.encoder_path = self.path / "encoder.json"
        self.encoder_hashes_path = self.path / "encoder.npz"
        #: State of an unfinished training, and the encoder that it started from.
        self.state_path = self.path / "state.safetensors"
        self.start_path = self.path / "start.safetensors"
        #: Of k-fold: the fold of each image, and the answers of all folds.
        self.folds_path = self.path / "folds.csv"
        self.fold_answers_path = self.path / FOLD_ANSWERS

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def _repr_html_(self) -> str:
        """Show what was run and how well it did; a folder that cannot be read says why."""
        rows: list[tuple[str, object]] = [("folder", self.path)]
        try:
            self.require_finished()
            result = self.evaluation()
            rows += [("recipe", self.recipe.name), ("images", len(self.manifest))]
            rows += [("classes", ", ".join(self.labels)), ("test images", result.n_images)]
            rows += [("accuracy", result.get("accuracy").percent()), ("report", self.report_path)]
        except (HurdlesError, OSError) as error:
            rows.append(("state", error))
        return notebook_table("Run", ["", ""], rows)

    @property
    def is_finished(self) -> bool:
        """True if everything was written."""
        return (self.path / "meta.json").is_file()

    @property
    def exists(self) -> bool:
        """True if a run was begun here."""
        return (self.path / "recipe.toml").is_file()

    @property
    def is_begun(self) -> bool:
        """True once the images are read and split: what follows belongs to this recipe."""
        return (self.path / "manifest.csv").is_file()

    @property
    def is_ensemble(self) -> bool:
        """True if several networks answer as one: those of the folds of k-fold."""
        # A run of folds that was killed before it began leaves folds where another may begin.
        return self.folds_path.is_file() and self.recipe.split.scheme == SplitScheme.K_FOLD

    def fold_runs(self) -> list[Run]:
        """Return the runs of the folds, those of one repeat after the other; none without folds."""
        if not self.is_ensemble:
            return []
        section = self.recipe.split
        numbers = [
            f"{repeat}-{fold}" if section.repeats > 1 else f"{fold}"
            for repeat in range(1, section.repeats + 1)
            for fold in range(1, section.folds + 1)
        ]
        return [Run(self.path / "folds" / number) for number in numbers]

    def fold_answers(self) -> FoldAnswers:
        """Return the answers of all folds to the images that they were tested and chosen on."""
        with reading(self.fold_answers_path):
            return FoldAnswers.load(self.fold_answers_path)

    def require_single(self, what: str) -> Run:
        """Return self, or raise a RunError that names the folds: `what` is of one network."""
        if self.is_ensemble:
            raise RunError(
                f"{self.path} holds {len(self.fold_runs())} networks, each of which was trained on "
                f"images that others were tested on; {what}. Each fold is a run of its own: give "
                f"{self.fold_runs()[0].path}, and the others beside it."
            )
        return self

    def require_finished(self) -> Run:
        """Return self, or raise a RunError that says what is missing and how to get it."""
        if not self.path.is_dir():
            raise RunError(f"{self.path} is not a folder; give the --out folder of a run.")
        if not self.exists:
            raise RunError(
                f"{self.path} holds no run (recipe.toml is missing); give the --out folder of one."
            )
        if not self.is_finished:
            raise RunError(
                f"{self.path} is not finished. Finish it: hurdles run {self.path}/recipe.toml "
                f"--out {self.path} --resume"
            )
        require_version(self.path, self.meta)
        require_whole(self.path)
        return self

    def require_prepared(self, description: Mapping[str, Any]) -> None:
        """Raise a RunError if images so prepared are not like those that the run was trained on.

        Parameters
        ----------
        description : mapping
            `hurdles.pixels.prepare.Preparation.description`; what the weights do not remember, as
            those of older versions, is not compared.
        """
        trained_on = json.loads(self._described(None).get("preparation", "{}"))
        for key, theirs in trained_on.items():
            if description.get(key) != theirs:
                raise RunError(
                    f"{self.path} was trained on images with preparation.{key} = {theirs!r}, and "
                    f"this version of hurdles prepares them with {description.get(key)!r}: the "
                    "network would see other pixels. Use the version that it was trained with, or "
                    "train it again."
                )

    def require_free(self, name: str) -> None:
        """Raise a RunError if a further set of images cannot be called `name`."""
        if not re.fullmatch(r"[^\W_]+(-[^\W_]+)*", name):
            raise RunError(
                f"{name!r} cannot name a set: use letters, digits and single hyphens, as in "
                "--name our-ward."
            )
        if name in {"train", "validation", "test"}:
            raise RunError(
                f"{name!r} is what {self.path} calls a part of its own; give the set another name "
                "by --name."
            )

    def page_path(self, name: str = "test") -> Path:
        """Return where the report on a set lies."""
        return self.report_path if name == "test" else self.path / f"report.{name}.html"

    def files_of(self, name: str) -> list[Path]:
        """Return what a test on a further set of images writes."""
        answers = self.path / "predictions"
        return [
            *(answers / f"{name}{end}.csv" for end in ("", ".rejection")),
            *Manifest.files(self.path / f"manifest.{name}.csv"),
            *(self.path / f"{stem}.{name}.json" for stem in ("evaluation", "rejection")),
            self.path / f"heatmaps.{name}.npz",
            self.page_path(name),
        ]

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe."""
        with reading(self.path / "recipe.toml"):
            return load_recipe(self.path / "recipe.toml")

    @cached_property
    def manifest(self) -> Manifest:
        """The images, with their split."""
        with reading(self.path / "manifest.csv"):
            return Manifest.load(self.path / "manifest.csv")

    @cached_property
    def given(self) -> Manifest | None:
        """The images as they were given; None of a run that was begun before these were kept."""
        path = self.path / "given.csv"
        return Manifest.load(path) if path.is_file() else None

    @property
    def learnt(self) -> Manifest:
        """The images that its weights were trained or chosen on."""
        if self.is_ensemble:  # each by some of its networks
            return self.manifest
        return self.manifest.select(self.manifest.frame["split"] != Split.TEST)

    def remarks(self, *, shared: bool = True) -> list[str]:
        """Return what a reader must know of the split; see `hurdles.recipe.images`."""
        blank = self.manifest.with_split([""] * len(self.manifest))
        return remarks(self.given or blank, self.manifest, self.recipe, shared=shared)

    @cached_property
    def copies(self) -> Copies | None:
        """The copies among its images; None where nobody looked, as in older versions."""
        return Copies.load(self.copies_path) if self.copies_path.is_file() else None

    @property
    def copy_remarks(self) -> list[str]:
        """Remarks on copies that stand in several parts of its split."""
        return self.copies.remarks(self.manifest) if self.copies else []

    @property
    def encoder_remarks(self) -> list[str]:
        """Remarks on images that the encoder has seen, and on what could not be excluded."""
        if not self.encoder_path.is_file():
            return []
        return [str(remark) for remark in self.read_json(self.encoder_path.name)["remarks"]]

    @property
    def n_encoder(self) -> int | None:
        """Test images that the encoder has seen and that were kept; None where it is not known."""
        if not self.encoder_path.is_file():
            return 0
        check = self.read_json(self.encoder_path.name)
        if check["kept"]:
            return int(check["test_images_seen"])
        return None if check["not_excluded"] else 0

    @cached_property
    def history(self) -> History:
        """The epochs."""
        return History.load(self.path / "history.csv", self.recipe.training.choose_by)

    @cached_property
    def meta(self) -> dict[str, Any]:
        """Versions, machine, hashes, and what weakens the result."""
        with reading(self.path / "meta.json"):
            return dict(self.read_json("meta.json"))

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the order of the network's outputs."""
        return self.spec.labels

    @cached_property
    def spec(self) -> ModelSpec:
        """The network's spec, which goes with its weights."""
        with reading(self._weights_path(None)):
            return ModelSpec.from_dict(json.loads(self._described(None)["spec"]))

    def network(self, epoch: ChosenEpoch | None = None) -> Network:
        """Return the trained network in evaluation mode, on the processor.

        Parameters
        ----------
        epoch : ChosenEpoch, optional
            Best or last; default: what the recipe chooses.
        """
        weights, described = load_weights(self._weights_path(epoch))
        with reading(self._weights_path(epoch)):
            network = self._built(json.loads(described.get("members", "[]")))
            network.load_state_dict(weights)
            return network.eval()

    def _built(self, members: Sequence[Mapping[str, Any]]) -> Network:
        """Return the network without its weights; of several, the one that they are together."""
        if not members:
            return build(self.spec, seed=0)
        from hurdles.models.ensemble import Ensemble

        return Ensemble([build(ModelSpec.from_dict(each), seed=0) for each in members])

    @property
    def weights_path(self) -> Path:
        """The weights that the recipe chooses."""
        return self._weights_path(None)

    def chosen_epoch(self, epoch: ChosenEpoch | None = None) -> int:
        """Return the number of the epoch whose weights `network` gives; it needs no weights."""
        last = self._choice(epoch) is ChosenEpoch.LAST
        return len(self.history) if last else self.history.best_epoch

    def predictions(self, name: str = "test") -> Predictions:
        """Return the predictions on a set: ``test``, ``validation``, or one given to evaluate.

        Raises
        ------
        RunError
            If the folder holds none on this set; the message lists those that it holds.
        """
        path = self.path / "predictions" / f"{name}.csv"
        if not path.is_file():
            there = sorted(p.stem for p in path.parent.glob("*.csv"))
            raise RunError(
                f"{self.path} holds no predictions on {name!r}; there are: "
                f"{', '.join(there) or 'none'}. Make them with hurdles evaluate."
            )
        with reading(path):
            return Predictions.load(path)

    def evaluation(self, name: str = "test") -> Evaluation:
        """Return the evaluation on a set."""
        file = "evaluation.json" if name == "test" else f"evaluation.{name}.json"
        with reading(self.path / file):
            return Evaluation.from_dict(self.read_json(file))

    def read_json(self, name: str) -> Any:
        """Read one of the folder's JSON files.

        Raises
        ------
        RunError
            If it is missing or damaged.
        """
        path = self.path / name
        if not path.is_file():
            raise RunError.missing(path)
        with reading(path):
            return json.loads(path.read_text(encoding="utf-8"))

    # Writing. Only the workflow that fills a folder calls these.

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second process from filling the same folder; the lock dies with its process.

        Raises
        ------
        RunError
            If another process holds the lock.
        """
        with locked(self.path):
            yield

    def begin(self, recipe: Recipe, *, resume: bool) -> None:
        """Write the recipe, or check that the folder was begun with the same one.

        Raises
        ------
        RunError
            If the folder holds a run and `resume` is false, holds one of another recipe, or holds
            other things. A run that failed before its images were parted may be begun anew.
        """
        if self.exists and not self.is_begun:
            written = (self.path / "recipe.toml").read_bytes()
            if written != self.recipe.to_toml().encode():
                raise RunError(f"{self.path}/recipe.toml is not by hurdles; give another --out.")
            write_text(self.path / "recipe.toml", recipe.to_toml())  # nothing was done with it yet
        elif self.exists:
            if not resume:
                raise RunError(
                    f"{self.path} holds a run already. Go on with it by --resume, or give another "
                    "--out."
                )
            if self.recipe.key != recipe.key:
                one, two = self.recipe.model_dump(mode="json"), recipe.model_dump(mode="json")
                changes = [
                    f"{section}.{field} is {value!r} there and {two[section][field]!r} now"
                    for section, fields in one.items()
                    if isinstance(fields, dict)
                    for field, value in fields.items()
                    if value != two[section][field]
                ]
                raise RunError(
                    f"{self.path} was begun with another recipe: "
                    f"{'; '.join(changes) or 'it has the same settings in another form'}. Resume "
                    "with the recipe that it was begun with, or give another --out."
                )
        else:
            self.refuse_others_folder()
            write_text(self.path / "recipe.toml", recipe.to_toml())

    def refuse_others_folder(self) -> None:
        """Raise a RunError if the folder holds other things; asked before anything is put there."""
        # A process may leave these that was killed before it wrote anything.
        leftover = re.compile(r"\.lock|\..*\.part")
        files = list(self.path.iterdir()) if self.path.is_dir() else []
        if not self.exists and not all(leftover.fullmatch(file.name) for file in files):
            raise RunError(f"{self.path} is not empty and holds no run; give another --out.")
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"{self.path} is a file; give the name of a folder by --out.")

    def refuse_other_images(self, manifest: Manifest) -> None:
        """Raise a RunError if the images are not those that the run was begun with.

        Parameters
        ----------
        manifest : Manifest
            As they are given now, before any is decoded.
        """
        before: Manifest | None = self.given
        ignored: tuple[str, ...] = ()
        if before is None:  # what was left out as unreadable, and the split brought, are not known
            before, ignored = self.manifest, ("split",)
            gone = manifest.frame["path"].isin(before.exclusions["path"])
            manifest = manifest.select(~gone)
        if changes := differences(before, manifest, but=ignored):
            raise RunError(
                f"{self.path} was begun with other images than those given now: "
                f"{'; '.join(changes)}. Resume with those that it was begun with, or without "
                "--data, or give another --out."
            )

    def write_json(self, name: str, content: Any) -> None:
        """Write one of the folder's JSON files; meta.json, the last, seals all."""
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        if name == "meta.json":
            seal(self.path, {name: text})
        write_text(self.path / name, text)

    def clear(self) -> None:
        """Remove what only training needs."""
        self.state_path.unlink(missing_ok=True)
        self.start_path.unlink(missing_ok=True)

    def starting_weights(self) -> StartingWeights:
        """Return the encoder of this run's chosen epoch, for another run to start from."""
        self.require_single("an encoder is that of one network")
        weights, metadata = load_weights(self._weights_path(None))
        start = StartingWeights.from_file(weights, metadata, source=f"run {self.path.name}")
        if "start" in metadata:
            start.description["started from"] = json.loads(metadata["start"])["source"]
        return start

    def start(self) -> StartingWeights | None:
        """Return the encoder that an unfinished training starts from; None: from scratch."""
        if not self.start_path.is_file():
            return None
        weights, metadata = load_weights(self.start_path)
        return StartingWeights.from_file(weights, metadata, source=str(self.start_path))

    def write_start(self, start: StartingWeights) -> None:
        """Keep the encoder that a training starts from until it is done."""
        save_weights(self.start_path, start.weights, start.to_metadata())

    def write_trained(
        self, trained: Trained, recipe: Recipe, prepared_as: Mapping[str, Any] | None = None
    ) -> None:
        """Write the history and both epochs' weights.

        Parameters
        ----------
        trained : Trained
            What came out of training.
        recipe : Recipe
            What was done.
        prepared_as : mapping, optional
            `Preparation.description` of the images trained on; default: the recipe's section.
        """
        preparation = prepared_as or recipe.preparation.model_dump(mode="json")
        start = self.start()
        epochs = {
            ChosenEpoch.BEST: (trained.best, trained.history.best_epoch),
            ChosenEpoch.LAST: (trained.last, len(trained.history)),
        }
        for choice, (weights, number) in epochs.items():
            meta = {
                "spec": json.dumps(trained.spec.to_dict()),
                "epoch": str(number),
                "recipe": recipe.key,
                "preparation": json.dumps(dict(preparation)),
                "use": USE,
            }
            if start is not None:
                meta["start"] = json.dumps({**start.description, "origin": start.origin})
            save_weights(self.path / "weights" / f"{choice}.safetensors", weights, meta)
        trained.history.save(self.path / "history.csv")

    def write_ensemble(self, members: Sequence[Run], prepared_as: Mapping[str, Any]) -> None:
        """Write the weights of the folds' networks as those of one."""
        networks = [member.network() for member in members]
        weights = {
            f"members.{number}.{name}": tensor
            for number, network in enumerate(networks)
            for name, tensor in network.state_dict().items()
        }
        specs = [network.spec.to_dict() for network in networks]
        meta = {
            "spec": json.dumps(specs[0]),
            "members": json.dumps(specs),
            "recipe": self.recipe.key,
            "preparation": json.dumps(dict(prepared_as)),
            "use": USE,
        }
        save_weights(self._weights_path(None), weights, meta)

    def _described(self, epoch: ChosenEpoch | None) -> dict[str, str]:
        return load_metadata(self._weights_path(epoch))

    def _weights_path(self, epoch: ChosenEpoch | None) -> Path:
        return self.path / "weights" / f"{self._choice(epoch)}.safetensors"

    def _choice(self, epoch: ChosenEpoch | None) -> ChosenEpoch:
        return self.recipe.training.choose if epoch is None else ChosenEpoch(epoch)


#: What says something of an image; where its file and its mask lie does not.
_SAYING = [c for c in (*COLUMNS, JOINED) if c not in ("image", "path", "mask")]


def differences(before: Manifest, now: Manifest, *, but: Sequence[str] = ()) -> list[str]:
    """Return in what images differ from those there were before; nothing where they are equal."""

    def counted(images: Sequence[str] | pd.Index) -> str:
        return "1 image" if len(images) == 1 else f"{len(images)} images"

    one, two = (m.frame.set_index("image") for m in (before, now))
    changes = [
        f"{counted(only)} {word}: {only[0]!r}{', ...' * (len(only) > 1)}"
        for only, word in (
            (one.index.difference(two.index), "gone"),
            (two.index.difference(one.index), "new"),
        )
        if len(only)
    ]
    both = one.index.intersection(two.index)
    for column in _SAYING:
        texts = [
            frame.reindex(index=both, columns=[column])[column].map(
                lambda value: "" if pd.isna(value) else str(value)
            )
            for frame in (one, two)
        ]
        other = both[texts[0] != texts[1]]
        if len(other) and column not in but:
            was, now_is = (each[other[0]] for each in texts)
            changes.append(
                f"the {column} of {counted(other)}: {other[0]!r} was {was or 'empty'!r} and is "
                f"{now_is or 'empty'!r}"
            )
    moved = [
        image
        for image, a, b in zip(both, one.loc[both, "path"], two.loc[both, "path"], strict=True)
        if os.path.realpath(a) != os.path.realpath(b)
        and Path(a).is_file()
        and not (Path(b).is_file() and filecmp.cmp(a, b, shallow=False))
    ]
    if moved:
        was, now_is = (frame.loc[moved[0], "path"] for frame in (one, two))
        changes.append(
            f"the file of {counted(moved)}: {moved[0]!r} was {was} and is {now_is}, which is not "
            "the same"
        )
    return changes
