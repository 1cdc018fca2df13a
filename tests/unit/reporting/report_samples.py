"""Fabricated reports for the tests, and a reader of pages; nothing here was measured on anybody."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd

from hurdles.data.manifest import Manifest, exclusions_table
from hurdles.evaluation.evaluation import evaluate
from hurdles.evaluation.predictions import Predictions
from hurdles.reporting.page import ReportContent, Sheet, SheetItem

CLASSES = ("COVID-19", "Normal", "Viral Pneumonia")
SIZES = {"COVID-19": 219, "Normal": 1341, "Viral Pneumonia": 1345}
TESTED = {"COVID-19": 33, "Normal": 201, "Viral Pneumonia": 202}
CONFUSION = np.array([[28, 1, 4], [1, 198, 2], [3, 9, 190]])


def manifest(seed: int = 0, *, patients: bool = True) -> Manifest:
    rng = np.random.default_rng(seed)
    rows = []
    for label, size in SIZES.items():
        adult = label == "COVID-19"
        for i in range(size):
            test = i < TESTED[label]
            split = "test" if test else "validation" if i < 2 * TESTED[label] else "train"
            rows.append(
                {
                    "image": f"{label}/{label} ({i + 1}).jpeg",
                    "path": f"/data/Röntgen/{label}/{label} ({i + 1}).jpeg",
                    "label": label,
                    "patient": f"{label}-{i}" if patients else None,
                    "source": ("SIRM" if i % 3 else "Cohen") if adult else "Kermany",
                    "view": rng.choice(["PA", "AP"]) if adult else None,
                    "sex": rng.choice(["F", "M"]) if adult and i % 5 else None,
                    "age": float(rng.integers(25, 90)) if adult and i % 4 else None,
                    "split": split,
                }
            )
    left_out = [(f"/data/Röntgen/CT/ct-{i:03d}.png", "a CT slice, not an X-ray") for i in range(97)]
    left_out += [(f"/data/lateral/{i}.png", "a lateral view") for i in range(14)]
    left_out += [("/data/<script>alert(1)</script>.png", "the file ends early or is damaged")]
    return Manifest(pd.DataFrame(rows), exclusions_table(left_out))


def predictions(table: Manifest) -> Predictions:
    tested = table.part("test").frame
    said = []
    for i, label in enumerate(CLASSES):
        said += [j for j, n in enumerate(CONFUSION[i]) for _ in range(n)]
        assert int(CONFUSION[i].sum()) == int((tested["label"] == label).sum())
    probabilities = np.full((len(tested), 3), 0.08)
    probabilities[np.arange(len(tested)), said] = 0.84
    return Predictions.from_arrays(
        CLASSES,
        y_true=tested["label"].tolist(),
        y_prob=probabilities,
        images=tested["image"].tolist(),
        groups=table.part("test").groups.tolist(),
        sources=tested["source"].tolist(),
        paths=tested["path"].tolist(),
    )


def history(epochs: int = 30) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    e = np.arange(1, epochs + 1)
    return pd.DataFrame(
        {
            "epoch": e,
            "train_loss": 0.62 * np.exp(-e / 6) + 0.02,
            "train_accuracy": 1 - 0.22 * np.exp(-e / 5),
            "validation_loss": 0.45 * np.exp(-e / 4)
            + 0.12
            + 0.006 * e
            + rng.normal(0, 0.012, epochs),
            "validation_accuracy": 0.955 - 0.16 * np.exp(-e / 4) + rng.normal(0, 0.005, epochs),
            "validation_auc": 0.99 - 0.1 * np.exp(-e / 4),
            "size": 224.0,
            "learning_rate": 1e-3,
            "seconds": 31.2,
        }
    )


def radiograph(seed: int, size: int = 224) -> np.ndarray:
    """Two dark lungs between bright ribs: enough to judge an overlay on."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    body = np.exp(-((x / 0.95) ** 6) - ((y / 1.3) ** 8))
    lungs = sum(np.exp(-(((x - s * 0.38) / 0.27) ** 4 + ((y + 0.02) / 0.62) ** 4)) for s in (-1, 1))
    ribs = 0.06 * np.sin(22 * (y + 0.35 * x * x))
    spine = 0.22 * np.exp(-((x / 0.1) ** 2))
    heart = 0.25 * np.exp(-(((x - 0.15) / 0.25) ** 2 + ((y - 0.3) / 0.3) ** 2))
    picture = body * (0.66 - 0.42 * lungs + ribs + spine + heart) + rng.normal(0, 0.012, x.shape)
    return np.clip(255 * picture, 0, 255).astype("uint8")


def heat(seed: int, size: int = 56) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    spots = [(rng.uniform(-0.6, 0.6), rng.uniform(-0.5, 0.6), rng.uniform(0.1, 0.3)) for _ in "ab"]
    return sum(np.exp(-((x - a) ** 2 + (y - b) ** 2) / s**2) for a, b, s in spots).astype("float32")


def sheets() -> list[Sheet]:
    made = []
    for n, label in enumerate(CLASSES):
        other = CLASSES[(n + 1) % 3]
        right = [
            SheetItem(
                f"{label}/{label} ({i}).jpeg",
                radiograph(10 * n + i),
                heat(10 * n + i),
                label,
                label,
                0.99 - 0.03 * i,
            )
            for i in range(6)
        ]
        empty = np.zeros((14, 14), "float32")
        wrong = [
            SheetItem(
                f"{label}/wrong-{i}.jpeg",
                radiograph(50 * n + i),
                heat(70 + i),
                label,
                other,
                0.61 + 0.1 * i,
            )
            for i in range(2)
        ]
        wrong.append(SheetItem(f"{label}/ärmel.png", radiograph(5), empty, label, other, 0.4))
        wrong.append(
            SheetItem(
                f"{label}/tall.png",
                radiograph(6)[:, 40:180],
                None,
                label,
                other,
                0.5,
                "the gradient vanished",
            )
        )
        made.append(
            Sheet(f"{label}, named rightly", right, f"The 6 most confident of {CONFUSION[n, n]}.")
        )
        made.append(Sheet(f"{label}, named wrongly", wrong if n < 2 else [], ""))
    return made


def content(**changes: Any) -> ReportContent:
    """Return the sample with some fields changed; what is slow to make is made once."""
    made = sample()
    if "manifest" in changes and "predictions" not in changes:
        changes["predictions"] = predictions(changes["manifest"])
    return replace(made, **changes)


@cache
def sample() -> ReportContent:
    table = manifest()
    said = predictions(table)
    return ReportContent(
        title="Baseline network, trained from scratch",
        research_sentence="Can a small network tell COVID-19, viral pneumonia and normal chest "
        "X-rays of the first Radiography Database apart?",
        manifest=table,
        evaluation=evaluate(said),
        predictions=said,
        history=history(),
        chosen_epoch=17,
        sheets=sheets(),
        heat_method="Grad-CAM on the last convolution",
        recipe={
            "name": "baseline",
            "seed": 42,
            "data": {"size": 224, "scale": "pixels / 255", "mask": None},
            "training": {
                "optimizer": "adam",
                "learning_rate": 1e-3,
                "epochs": 30,
                "batch_size": 32,
                "augmentation": {"flip": 0.7, "rotation": [-15, 15]},
            },
        },
        recipe_notes={
            "training.batch_size": "Images in one step.",
            "seed": "Start of every random draw; the same seed gives the same numbers.",
        },
        warnings=["Only one seed was run: part of the difference to another run is chance."],
        environment={"python": "3.11.7", "torch": "2.13.0", "machine": {"cores": 2, "gpu": None}},
    )


_VOID = {"meta", "link", "img", "input", "br", "line", "circle", "polyline"}


class Page(HTMLParser):
    """The page as a reader meets it: visible text, attributes, and whether every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {k: v or "" for k, v in attrs}))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, {k: v or "" for k, v in attrs}))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "title"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words)).replace("\u202f", " ")

    def named(self, tag: str, **wanted: str) -> list[dict[str, str]]:
        """Return the attributes of the tags that carry what is wanted."""
        found = [attributes for name, attributes in self.tags if name == tag]
        pairs = {k.rstrip("_"): v for k, v in wanted.items()}
        return [a for a in found if all(v in a.get(k, "").split() for k, v in pairs.items())]
