"""An experiment as data: a TOML file, validated, every field explained."""

from __future__ import annotations

import hashlib
import json
import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Le
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from hurdles.data.vocabulary import MissingPatients, SplitScheme
from hurdles.errors import RecipeError
from hurdles.evaluation.conditions import Conditions, prevalences
from hurdles.recipe.choices import (
    AugmentationPolicy,
    ChosenBy,
    ChosenEpoch,
    ClassWeights,
    Loss,
    Optimizer,
    Precision,
    RejectBy,
    Sampling,
    Scaling,
    Schedule,
    Start,
    Threshold,
)

__all__ = [
    "AugmentationSection",
    "EvaluationSection",
    "ModelSection",
    "PreparationSection",
    "Recipe",
    "RemedySection",
    "SplitSection",
    "TrainingSection",
    "load_recipe",
    "shipped_recipes",
]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


_Many = Annotated[int, Le(2**32 - 1)]  # the largest seed that any generator takes
_Fraction = Annotated[float, Field(gt=0, lt=1)]
_Side = Annotated[int, Field(ge=16, le=2048)]


class PreparationSection(_Section):
    """Steps from a decoded radiograph to the network's input."""

    name: str = Field(
        "raw",
        description="Preparation, by name: raw (resized, nothing else), or steps joined by '+' in "
        "the order in which they are done: equalized, clahe, harmonized (grey levels), masked (the "
        "lungs alone), background (all but the lungs), cropped (to the lungs). "
        "Tartaglione et al. 2020: equalized+masked.",
    )
    size: _Side = Field(224, description="Side of the square input, in pixels.")


class SplitSection(_Section):
    """The split of images into training, validation and test."""

    scheme: str = Field(
        SplitScheme.AUTO.value,
        description="auto (the split that the images bring, by folders or a column; else k-fold "
        "where a class has fewer than 150 patients; else patient), patient (no patient in two "
        "parts), k-fold (every image is tested once, by a network that never saw its patient), "
        "image (as many papers do), lazaro-barco-2020 (that paper's own), or given (what the "
        "images bring).",
    )
    folds: int = Field(5, ge=2, le=20, description="k-fold: number of folds, a network each.")
    repeats: int = Field(
        1, ge=1, le=20, description="k-fold: how often the images are parted into folds anew."
    )
    fractions: tuple[_Fraction, _Fraction, _Fraction] = Field(
        (0.7, 0.15, 0.15),
        description="Shares of training, validation and test; they sum to 1. k-fold: the first two "
        "share what is not tested.",
    )
    seed: _Many = Field(0, ge=0, description="Seed of the split, apart from the seed of training.")
    missing_patients: MissingPatients = Field(
        MissingPatients.REFUSE,
        description="Images without a patient, where hurdles parts them: refuse, or one-each (each "
        "its own patient; the report says so on its first screen).",
    )

    @model_validator(mode="after")
    def _sum_to_one(self) -> SplitSection:
        if abs(sum(self.fractions) - 1) > 1e-6:
            raise ValueError(f"fractions {self.fractions} sum to {sum(self.fractions):g}, not 1")
        return self


class ModelSection(_Section):
    """The network."""

    architecture: str = Field("baseline", description="Network, by name.")
    channels: int = Field(1, description="1, or 3: the grey image three times, as RGB has it.")
    hidden: tuple[Annotated[int, Field(ge=1, le=65_536)], ...] = Field(
        (),
        description="Widths of the head's hidden layers; [256] is that of Tartaglione et al. 2020 "
        "for COVID-19.",
    )
    scaling: Scaling = Field(
        Scaling.NONE,
        description="none (pixels stay within 0 and 1), or training (mean and standard deviation "
        "of the training images). Weights that come from elsewhere bring their own.",
    )
    start: Start = Field(
        Start.SCRATCH,
        description="First weights of the encoder: scratch, imagenet, run (of another run) or file "
        "(that hurdles import-encoder wrote): --encoder-from.",
    )
    origin: str = Field(
        "", description="SHA-256 of the weights started from; filled in when they are read."
    )
    freeze: tuple[str, ...] = Field(
        (), description="Parameters that are not trained, by patterns such as 'encoder.*'."
    )


class AugmentationSection(_Section):
    """Altered copies of training images; validation and test images are never altered."""

    policy: AugmentationPolicy = Field(
        AugmentationPolicy.NONE,
        description="none; enlarge (fixed altered copies of one class, drawn once, as "
        "Lázaro and Barco 2020 do); balanced (every epoch draws each class equally often and "
        "alters every image); each (every epoch alters every image).",
    )
    flip: float = Field(0.7, ge=0, le=1, description="Probability of a left-right flip.")
    rotation: float = Field(0.7, ge=0, le=1, description="Probability of a rotation.")
    degrees: float = Field(15.0, ge=0, le=45, description="Largest rotation, to either side.")
    shift: float = Field(
        0.0, ge=0, le=0.5, description="Largest shift to either side, as a share of the image."
    )
    scale: float = Field(1.0, ge=1, le=2, description="Largest enlargement; 1: none.")
    contrast: float = Field(
        0.0, ge=0, lt=1, description="Largest change of contrast and brightness, as a share."
    )
    label: str | None = Field(None, description="enlarge: the class that is enlarged.")
    copies: _Many = Field(0, ge=0, description="enlarge: how many altered copies are added.")

    @model_validator(mode="after")
    def _enlarge_what(self) -> AugmentationSection:
        if self.policy is AugmentationPolicy.ENLARGE and (self.label is None or not self.copies):
            raise ValueError("policy = 'enlarge' needs label and copies: which class, by how many")
        toned = self.shift or self.contrast or self.scale > 1
        if self.policy is AugmentationPolicy.ENLARGE and toned:
            raise ValueError(
                "policy = 'enlarge' alters one class alone: shift, scale and contrast would mark "
                "it by its borders and greys; use policy = 'each' or 'balanced' with them"
            )
        return self


class TrainingSection(_Section):
    """The optimization."""

    epochs: int = Field(30, ge=1, le=100_000, description="Most epochs that are run.")
    batch_size: _Many = Field(32, ge=1, description="Images per step.")
    sizes: tuple[_Side, ...] = Field(
        (),
        description="Sides to which the training images are shrunk in the first epochs, in pixels, "
        "one number an epoch, such as [64, 64, 96]; later epochs and every validation have "
        "preparation.size. For networks that average their last maps.",
    )
    loss: Loss = Field(Loss.CROSS_ENTROPY, description="cross-entropy, or focal (Lin et al. 2017).")
    gamma: float = Field(2.0, ge=0, description="focal: how much easy images are played down.")
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="cross-entropy: share of an image's truth that is spread over all classes "
        "(Szegedy et al. 2016); 0: none, 0.1 is usual.",
    )
    class_weights: ClassWeights = Field(
        ClassWeights.NONE,
        description="none, or balanced: every class weighs as much as any other, however rare.",
    )
    optimiser: Optimizer = Field(Optimizer.ADAM, description="adam, adamw, or sgd.")
    learning_rate: float = Field(1e-3, gt=0, description="Learning rate at the start.")
    momentum: float = Field(0.0, ge=0, lt=1, description="sgd: momentum.")
    weight_decay: float = Field(0.0, ge=0, description="Weight decay.")
    epsilon: float = Field(1e-7, gt=0, description="Epsilon of Adam (Keras: 1e-7; torch: 1e-8).")
    schedule: Schedule = Field(
        Schedule.CONSTANT,
        description="constant; plateau (a tenth after `plateau` epochs without a lower validation "
        "loss); cosine (a short rise, then down to nothing over all epochs).",
    )
    plateau: _Many = Field(15, ge=1, description="plateau: epochs without a lower validation loss.")
    patience: _Many = Field(
        0,
        ge=0,
        description="Stop after so many epochs without a better validation, epochs of smaller "
        "images not counted; 0: never.",
    )
    choose: ChosenEpoch = Field(
        ChosenEpoch.BEST, description="best (on the validation images) or last."
    )
    choose_by: ChosenBy = Field(
        ChosenBy.ACCURACY,
        description="What best means: accuracy, auc (the mean over the classes), or loss; of "
        "equals the lowest validation loss.",
    )
    seed: _Many = Field(0, ge=0, description="Seed of the weights, the order and the dropout.")
    precision: Precision = Field(
        Precision.AUTO,
        description="auto: bfloat16 where the processor has it, else float32. Reported "
        "predictions are always computed in float32.",
    )

    @model_validator(mode="after")
    def _smoothed_entropy(self) -> TrainingSection:
        if self.label_smoothing and self.loss is not Loss.CROSS_ENTROPY:
            raise ValueError("label_smoothing goes with loss = 'cross-entropy' only")
        return self


class RemedySection(_Section):
    """Measures taken so that the network reads the lungs and not the source of an image."""

    sampling: Sampling = Field(
        Sampling.NONE,
        description="What every epoch shows equally often: none, source, or class-by-source (each "
        "class of each source that there is); takes the place of the balance of "
        "augmentation.policy = 'balanced'.",
    )
    group_dro: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Group DRO (Sagawa et al. 2020): step size of the weights of the groups, class "
        "by source; 0: not used, 0.01 in the paper.",
    )
    disentangle: float = Field(
        0.0,
        ge=0,
        description="EnD (Tartaglione et al. 2021): weight of making features of one source unlike "
        "each other; 0: not used.",
    )
    entangle: float = Field(
        0.0,
        ge=0,
        description="EnD: weight of making features of a class alike across sources; 0: not used.",
    )
    unit_features: bool = Field(
        False, description="EnD as its authors coded it: the head is given features of length one."
    )
    reject: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="Share of images such as those of validation that are not answered but "
        "rejected as too strange; 0: none, 0.05 is usual.",
    )
    reject_by: RejectBy = Field(
        RejectBy.DISTANCE,
        description="reject: distance (of the features to those of training images), or confidence "
        "(the largest probability).",
    )

    @model_validator(mode="after")
    def _unit_features_of_end(self) -> RemedySection:
        if self.unit_features and not (self.disentangle or self.entangle):
            raise ValueError("unit_features needs disentangle or entangle, whose features they are")
        return self

    @property
    def needs_sources(self) -> bool:
        """True if training has to know where its images come from."""
        weighed = self.group_dro or self.disentangle or self.entangle
        return self.sampling is not Sampling.NONE or bool(weighed)


class EvaluationSection(_Section):
    """The decision and the intervals."""

    threshold: Threshold = Field(
        Threshold.ARGMAX,
        description="argmax (the most probable class), or youden (two classes: the threshold that "
        "maximises sensitivity + specificity on the validation images).",
    )
    positive: str = Field(
        "", description="Two classes: the one that is looked for; empty: the first."
    )
    level: float = Field(0.95, gt=0.5, lt=1, description="Confidence level.")
    resamples: _Many = Field(
        2000,
        ge=100,
        description="Resamples behind the intervals of paired differences (hurdles compare).",
    )
    seed: _Many = Field(0, ge=0, description="Seed of these resamples.")
    prevalence: tuple[str, ...] = Field(
        (),
        description="Prevalences at which PPV and NPV are given besides, as in ['COVID-19=0.02'].",
    )
    specificity: tuple[_Fraction, ...] = Field(
        (0.95,),
        description="Specificities at which the sensitivity is given; the thresholds are fixed on "
        "the validation images.",
    )
    sensitivity: tuple[_Fraction, ...] = Field(
        (), description="Sensitivities at which the specificity is given, likewise."
    )
    benefit_at: tuple[_Fraction, ...] = Field(
        (), description="Probabilities from which on one would act, for the net benefit."
    )

    @field_validator("prevalence")
    @classmethod
    def _prevalences(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        Conditions(prevalences(texts))
        return texts

    @property
    def conditions(self) -> Conditions:
        """Conditions at which a set is measured."""
        return Conditions(
            prevalences(self.prevalence), self.specificity, self.sensitivity, self.benefit_at
        )


class Recipe(_Section):
    """One experiment: what is done to which data, without naming where the data lies."""

    name: str = Field(description="Short name, as in a table's first column.", min_length=1)
    description: str = Field("", description="What the experiment is for, in a sentence or two.")
    data: str = Field("", description="Collection it was written for; --data may name another.")
    preparation: PreparationSection = PreparationSection()
    split: SplitSection = SplitSection()
    model: ModelSection = ModelSection()
    augmentation: AugmentationSection = AugmentationSection()
    training: TrainingSection = TrainingSection()
    remedy: RemedySection = RemedySection()
    evaluation: EvaluationSection = EvaluationSection()

    @model_validator(mode="after")
    def _one_way_to_draw(self) -> Recipe:
        enlarged = self.augmentation.policy is AugmentationPolicy.ENLARGE
        if enlarged and self.remedy.sampling is not Sampling.NONE:
            raise ValueError(
                "augmentation.policy = 'enlarge' fixes how often a class is seen, and "
                "remedy.sampling draws it anew; use policy = 'none' or 'each' with it"
            )
        return self

    @model_validator(mode="after")
    def _growing(self) -> Recipe:
        sizes, last = self.training.sizes, self.preparation.size
        if list(sizes) != sorted(sizes) or (sizes and sizes[-1] > last):
            raise ValueError(
                f"training.sizes = {list(sizes)} must grow, up to preparation.size = {last} at most"
            )
        if len(sizes) >= self.training.epochs and sizes:
            raise ValueError(
                f"training.sizes has {len(sizes)} numbers for {self.training.epochs} epochs; the "
                "last epoch at least is trained at preparation.size"
            )
        return self

    @property
    def key(self) -> str:
        """SHA-256 of every setting that can change a number: all but names and descriptions.

        A setting at its default does not enter, so that a new one leaves the keys of earlier runs
        alone; a default therefore never changes. One did: of the schemes, it is patient that does
        not enter, not auto.
        """
        labels = {"name", "description", "data", "split"}
        plain = self.model_dump(mode="json", exclude=labels, exclude_defaults=True)
        split = self.split.model_dump(mode="json", exclude_defaults=True)
        if self.split.scheme == SplitScheme.PATIENT:
            split.pop("scheme", None)
        else:
            split["scheme"] = self.split.scheme
        plain = {**plain, "split": split} if split else plain
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()

    def to_toml(self, *, explained: bool = False) -> str:
        """Return the recipe as TOML, every field written out; `explained`: with its sentence."""
        import tomli_w

        text = tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))
        if not explained:
            return text
        sentences, section, lines = self.explanations(), "", []
        for line in text.splitlines():
            if line.startswith("["):
                section = line.strip("[]") + "."
            key, is_field, _ = line.partition(" = ")
            sentence = sentences.get(section + key) if is_field else None
            lines += [f"# {sentence}", line] if sentence else [line]
        return "\n".join(lines) + "\n"

    def changed(self, **sections: dict[str, Any] | str) -> Recipe:
        """Return a validated copy with fields changed: ``recipe.changed(training={"seed": 1})``."""
        plain = self.model_dump(mode="json")
        for name, value in sections.items():
            plain[name] = {**plain.get(name, {}), **value} if isinstance(value, dict) else value
        return parsed_recipe(plain, self.name)

    @classmethod
    def explanations(cls) -> dict[str, str]:
        """Return ``section.field`` -> sentence for every field, for help pages and reports."""
        sentences: dict[str, str] = {}
        for name, info in cls.model_fields.items():
            section = info.annotation
            if isinstance(section, type) and issubclass(section, _Section):
                for field, inner in section.model_fields.items():
                    sentences[f"{name}.{field}"] = inner.description or ""
            else:
                sentences[name] = info.description or ""
        return sentences


def shipped_recipes() -> list[str]:
    """Return the names of the recipes that come with hurdles."""
    folder = resources.files("hurdles.recipe") / "shipped"
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name[-5:] == ".toml")


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Read a recipe: a shipped one by name, or any TOML file by path.

    Raises
    ------
    RecipeError
        If there is no such recipe, the file is not TOML, or a field is unknown or out of range.
    """
    path = Path(name_or_path)
    if path.is_file():
        try:
            return _parse(path.read_text(encoding="utf-8"), str(path))
        except UnicodeDecodeError as error:
            raise RecipeError(f"{path} is not UTF-8 text ({error}); save it so.") from error
    shipped = shipped_recipes()
    if str(name_or_path) not in shipped:
        raise RecipeError(
            f"{str(name_or_path)!r} is neither a file nor a shipped recipe. "
            f"Shipped: {', '.join(shipped)}."
        )
    source = resources.files("hurdles.recipe") / "shipped" / f"{name_or_path}.toml"
    return _parse(source.read_text(encoding="utf-8"), str(name_or_path))


def _parse(text: str, where: str) -> Recipe:
    try:
        plain = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # numbers too long, brackets too deep
        raise RecipeError(f"{where} is not valid TOML: {error}.") from error
    return parsed_recipe(plain, where)


def parsed_recipe(plain: dict[str, Any], where: str) -> Recipe:
    """Return the recipe that a mapping holds; a wrong one raises RecipeError, naming `where`."""
    try:
        return Recipe.model_validate(plain)
    except ValidationError as error:
        problems = "; ".join(
            _problem(e["loc"], e["type"], e["msg"], e["input"]) for e in error.errors()
        )
        raise RecipeError(f"recipe {where}: {problems}. Correct the fields named.") from error


def _problem(place: tuple[int | str, ...], kind: str, message: str, value: object) -> str:
    name = ".".join(map(str, place)) or "recipe"
    if kind == "extra_forbidden":
        section = Recipe.model_fields[str(place[0])].annotation if len(place) > 1 else Recipe
        known = ", ".join(getattr(section, "model_fields", {}))
        return f"{name} is no {'field' if len(place) > 1 else 'section or field'}; known: {known}"
    if kind == "missing":
        return f"{name} is missing"
    reason = message.removeprefix("Value error, ")
    return f"{name}: {reason}" if isinstance(value, dict) else f"{name}: {reason} (got {value!r})"
