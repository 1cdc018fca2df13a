"""The closed vocabularies of a recipe."""

from __future__ import annotations

from enum import StrEnum


class AugmentationPolicy(StrEnum):
    """Choice of the training images that are altered."""

    NONE = "none"
    ENLARGE = "enlarge"
    BALANCED = "balanced"
    EACH = "each"


class ChosenEpoch(StrEnum):
    """Choice of the epoch whose weights are kept."""

    BEST = "best"
    LAST = "last"


class Precision(StrEnum):
    """Number format of the forward and backward pass; weights are always float32."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class ChosenBy(StrEnum):
    """Measure of the validation images in which the best epoch is best."""

    ACCURACY = "accuracy"
    AUC = "auc"
    LOSS = "loss"


class ClassWeights(StrEnum):
    """Weight of an image of a class in the loss."""

    NONE = "none"
    BALANCED = "balanced"


class Loss(StrEnum):
    """Function that is minimized."""

    CROSS_ENTROPY = "cross-entropy"
    FOCAL = "focal"


class Optimizer(StrEnum):
    """Rule by which the weights are moved."""

    ADAM = "adam"
    ADAMW = "adamw"
    SGD = "sgd"


class RejectBy(StrEnum):
    """Measure by which an image is too strange to be answered."""

    DISTANCE = "distance"
    CONFIDENCE = "confidence"


class Sampling(StrEnum):
    """Groups that an epoch shows equally often, besides the balance of augmentation."""

    NONE = "none"
    SOURCE = "source"
    CLASS_BY_SOURCE = "class-by-source"


class Scaling(StrEnum):
    """Numbers subtracted from the pixels and divided by before the first layer."""

    NONE = "none"
    TRAINING = "training"


class Schedule(StrEnum):
    """Course of the learning rate."""

    CONSTANT = "constant"
    PLATEAU = "plateau"
    COSINE = "cosine"


class Start(StrEnum):
    """Origin of the encoder's first weights."""

    SCRATCH = "scratch"
    IMAGENET = "imagenet"
    RUN = "run"
    FILE = "file"


class Threshold(StrEnum):
    """Rule by which probabilities become a class."""

    ARGMAX = "argmax"
    YOUDEN = "youden"
