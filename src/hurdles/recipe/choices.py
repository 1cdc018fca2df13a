"""The closed vocabularies of a recipe."""

from __future__ import annotations

from enum import StrEnum


class AugmentationPolicy(StrEnum):
    """Which training images are altered."""

    NONE = "none"
    ENLARGE = "enlarge"
    BALANCED = "balanced"
    EACH = "each"


class ChosenEpoch(StrEnum):
    """Which epoch's weights are kept."""

    BEST = "best"
    LAST = "last"


class Precision(StrEnum):
    """Number format of the forward and backward pass; weights are always float32."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class ChosenBy(StrEnum):
    """What makes an epoch the best: a measure of the validation images."""

    ACCURACY = "accuracy"
    AUC = "auc"
    LOSS = "loss"


class ClassWeights(StrEnum):
    """How much an image of a class counts in the loss."""

    NONE = "none"
    BALANCED = "balanced"


class Loss(StrEnum):
    """What is minimized."""

    CROSS_ENTROPY = "cross-entropy"
    FOCAL = "focal"


class Optimizer(StrEnum):
    """How the weights are moved."""

    ADAM = "adam"
    ADAMW = "adamw"
    SGD = "sgd"


class RejectBy(StrEnum):
    """What makes an image too strange to be answered."""

    DISTANCE = "distance"
    CONFIDENCE = "confidence"


class Sampling(StrEnum):
    """What an epoch shows equally often, besides what augmentation asks for."""

    NONE = "none"
    SOURCE = "source"
    CLASS_BY_SOURCE = "class-by-source"


class Scaling(StrEnum):
    """What is subtracted from the pixels and divided by before the first layer."""

    NONE = "none"
    TRAINING = "training"


class Schedule(StrEnum):
    """How the learning rate changes."""

    CONSTANT = "constant"
    PLATEAU = "plateau"
    COSINE = "cosine"


class Start(StrEnum):
    """Where the encoder's first weights come from."""

    SCRATCH = "scratch"
    IMAGENET = "imagenet"
    RUN = "run"


class Threshold(StrEnum):
    """How probabilities become a class."""

    ARGMAX = "argmax"
    YOUDEN = "youden"
