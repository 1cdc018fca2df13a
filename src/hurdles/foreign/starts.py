"""Starts of a spec: the conventions of a library, and what an ONNX file says of itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hurdles.errors import SpecError
from hurdles.foreign.onnx import FLOATS
from hurdles.foreign.onnx_file import OnnxFile, Port, shape_of
from hurdles.foreign.spec import Spec
from hurdles.models.importing import IMAGENET
from hurdles.registry import Registry

__all__ = ["LIBRARIES"]

#: Names that stand where the user's own are to be put.
_CLASS, _OTHER = "class-", "the-other-class"

_OPERATORS = {"Softmax": "softmax", "Sigmoid": "sigmoid"}
_WORDS_OF_ANSWERS = ("prob", "logit", "answer", "pred", "class", "score")
_WORDS_OF_FEATURES = ("feature", "embed", "penultimate", "pool")


@dataclass(frozen=True)
class Start:
    """Conventions of a library: fields of a spec, and what to look at before it is believed."""

    fields: dict[str, Any] = field(default_factory=dict)
    heading: str = ""


#: Libraries whose conventions `hurdles spec --like` writes.
LIBRARIES: Registry[Start] = Registry("library")
LIBRARIES.register("torchvision")(
    Start(
        {
            "size": 224,
            "framing": "crop",
            "crop_fraction": 0.875,
            "resize": "bilinear",
            "channels": 3,
            "channel_order": "rgb",
            "mean": IMAGENET[0],
            "sd": IMAGENET[1],
            "output": "logits",
        },
        "torchvision: Resize(256), CenterCrop(224), ToTensor, Normalize by the mean and SD of\n"
        "ImageNet, a last layer without softmax. Resize((224, 224)) instead: framing = "
        '"stretch",\ncrop_fraction = 1.0. No Normalize: mean = 0, sd = 1. ImageFolder sorts the '
        "classes by name.",
    )
)
LIBRARIES.register("torchxrayvision")(
    Start(
        {
            "classes": (
                *("Atelectasis", "Consolidation", "Infiltration", "Pneumothorax", "Edema"),
                *("Emphysema", "Fibrosis", "Effusion", "Pneumonia", "Pleural_Thickening"),
                *("Cardiomegaly", "Nodule", "Mass", "Hernia", "Lung Lesion", "Fracture"),
                *("Lung Opacity", "Enlarged Cardiomediastinum"),
            ),
            "positive": "Pneumonia",
            "negative": "Normal",
            "size": 224,
            "framing": "crop",
            "resize": "bilinear",
            "range": (-1024, 1024),
            "output": "sigmoid",
        },
        "torchxrayvision: XRayCenterCrop, XRayResizer(224), numbers from -1024 to 1024, and for\n"
        "each finding a probability by itself. The classes are those of densenet121-res224-all;\n"
        "positive is the finding that is asked, negative the name that your data has for images\n"
        'without it. Trained by yourself, without apply_sigmoid or op_threshs: output = "logits".',
    )
)
LIBRARIES.register("keras")(
    Start(
        {
            "size": 224,
            "resize": "bilinear-sharp",
            "channels": 3,
            "channel_order": "rgb",
            "range": (0, 1),
            "layout": "NHWC",
            "output": "softmax",
        },
        "Keras: a model that is given numbers from 0 to 1. Rescaling within the model, or\n"
        "EfficientNet: range = [0, 255]. preprocess_input of MobileNet, Xception, Inception:\n"
        'range = [-1, 1]; of VGG and ResNet50: range = [0, 255], channel_order = "bgr",\n'
        "mean = [123.68, 116.779, 103.939]. Dense(1, sigmoid): classes of one name, positive and\n"
        "negative. image_dataset_from_directory sorts the classes by name; the one output is then\n"
        'the probability of the second. flow_from_directory: resize = "nearest".',
    )
)
LIBRARIES.register("monai")(
    Start(
        {
            "size": 224,
            "transposed": True,
            "scaling": "min-max",
            "output": "logits",
        },
        "MONAI: LoadImage, ScaleIntensity, Resize((224, 224)). LoadImage gives the columns of a\n"
        "PNG or JPEG first, hence transposed; images that came another way: transposed = false.\n"
        'NormalizeIntensity: scaling = "mean-sd". ScaleIntensityRange(0, 255, 0, 1): scaling =\n'
        '"none".',
    )
)


def start_of(
    like: str | None = None,
    *,
    model: OnnxFile | None = None,
    classes: Sequence[str] = (),
    size: int | None = None,
) -> Spec:
    """Return a spec to begin with; SpecError where a file and what is given contradict."""
    if like is None and model is None:
        raise SpecError(
            f"say what the model is like ({', '.join(LIBRARIES.names())}), or give its ONNX file."
        )
    if model is not None and like is None and (own := model.own_spec) is not None:
        changes: dict[str, Any] = {"classes": list(classes)} if classes else {}
        changes |= {} if size is None else {"size": size}
        return own.changed(**changes)
    start = Start() if like is None else LIBRARIES.get(like)
    fields = dict(start.fields)
    if size is not None:
        fields["size"] = size
    n = _count(fields, classes)
    if model is not None:
        port = _answers_of(model, n)
        fields |= _fields_of_input(model) | _fields_of_output(model, port)
        n = _width(port)
    fields |= _classes(fields, classes, n)
    return Spec.parse(_gray(fields), "this start")


def heading_of(spec: Spec, like: str | None = None) -> str:
    """Return the comment above a start: what it assumes, and what is to be filled in."""
    lines = [] if like is None else [LIBRARIES.get(like).heading]
    if any(name.startswith(_CLASS) for name in spec.classes):
        lines.append("classes: put the names of your classes here, in the order of the outputs.")
    if spec.negative == _OTHER:
        lines.append("negative: put the name of your other class here.")
    lines += ["Check it before you believe it: hurdles audit --expect p.csv, with your own",
              "predictions."]  # fmt: skip
    return "\n".join(lines)


def _count(fields: dict[str, Any], classes: Sequence[str]) -> int | None:
    known = classes or fields.get("classes", ())
    return len(known) or None


def _gray(fields: dict[str, Any]) -> dict[str, Any]:
    """Return fields in which a model with one channel has one mean and one SD: their averages."""
    if fields.get("channels", 1) != 1:
        return fields
    means: dict[str, Any] = {
        name: (round(sum(fields[name]) / len(fields[name]), 6),)
        for name in ("mean", "sd")
        if len(fields.get(name, ())) > 1
    }
    return fields | means | {"channel_order": "gray"}


def _classes(fields: dict[str, Any], classes: Sequence[str], n: int | None) -> dict[str, Any]:
    names = tuple(classes) or tuple(fields.get("classes", ()))
    if n == 1 and len(classes) == 2:  # by name, as Keras sorts folders
        return {"classes": (classes[1],), "positive": classes[1], "negative": classes[0]}
    if n is not None and len(names) != n:
        if classes:
            raise SpecError(
                f"the file has {n} outputs and {len(classes)} classes are given "
                f"({', '.join(classes)}); give a name for each output, in their order."
            )
        names = tuple(f"{_CLASS}{i + 1}" for i in range(n))
        fields = {k: v for k, v in fields.items() if k not in ("positive", "negative")}
    names = names or (f"{_CLASS}1", f"{_CLASS}2")
    if len(names) == 1:
        return {"classes": names, "positive": names[0], "negative": _OTHER}
    if fields.get("positive") not in names:
        return {"classes": names, "positive": None, "negative": None}
    return {"classes": names}


def _fields_of_input(model: OnnxFile) -> dict[str, Any]:
    if len(model.inputs) != 1:
        return {"input_name": model.inputs[0].name} if model.inputs else {}
    shape = shape_of(model.inputs[0])
    if shape is not None:
        side, channels, layout = shape
        fields: dict[str, Any] = {"channels": channels, "layout": str(layout)}
        fields |= {"channel_order": "rgb"} if channels == 3 else {}
        return fields | ({} if side is None else {"size": side})
    sides = model.inputs[0].shape
    if len(sides) == 3 and sides[1] is not None and sides[1] == sides[2]:
        return {"size": sides[1], "channels": 1}
    flat = sides[1] if len(sides) == 2 else None
    root = int(flat**0.5) if flat else 0
    if flat is None or root * root != flat:
        return {}
    return {"size": root, "channels": 1}


def _answers_of(model: OnnxFile, n: int | None) -> Port:
    """Return the output that holds the answers, as far as the file tells."""
    ports = [port for port in model.outputs if port.kind in FLOATS]
    if not ports:
        kinds = ", ".join(f"{port} of {port.kind}" for port in model.outputs)
        raise SpecError(
            f"{model.path} has no output of numbers: {kinds}. skl2onnx: export with "
            'options={"zipmap": False}.'
        )

    def likely(port: Port) -> tuple[bool, bool, bool, bool]:
        name = port.name.lower()
        return (
            n is not None and _width(port) == n,
            model.last_operator(port.name) in _OPERATORS,
            any(word in name for word in _WORDS_OF_ANSWERS),
            not any(word in name for word in _WORDS_OF_FEATURES),
        )

    return max(ports, key=likely)


def _fields_of_output(model: OnnxFile, port: Port) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if len(model.outputs) > 1:
        fields["output_name"] = port.name
    for other in model.outputs:
        named = any(word in other.name.lower() for word in _WORDS_OF_FEATURES)
        if other is not port and other.kind in FLOATS and named:
            fields["features_name"] = other.name
    kind = _OPERATORS.get(model.last_operator(port.name))
    if kind is None and port.name.lower().startswith("prob"):  # as skl2onnx names them
        kind = "softmax"
    return fields if kind is None else fields | {"output": kind}


def _width(port: Port) -> int | None:
    widths = [side for side in port.shape[1:] if side != 1]
    return (widths or [1])[0] if len(widths) <= 1 and port.shape else None
