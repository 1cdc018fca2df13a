"""The picture of features, coloured twice."""

from __future__ import annotations

import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from hurdles.reporting.charts import colors_and_markers, embedding_figure

XY = np.random.default_rng(0).normal(size=(60, 2))
CLASSES = ["sick"] * 20 + ["well"] * 40
SOURCES = [f"hospital {i % 3}" for i in range(60)]


def drawn(**changes) -> str:
    given = {"xy": XY, "classes": CLASSES, "sources": SOURCES, "title": "Features", **changes}
    return embedding_figure(given.pop("xy"), given.pop("classes"), given.pop("sources"),
                            form="svg", **given).decode()  # fmt: skip


def test_legends_name_every_group_with_its_number():
    text = "".join(re.findall(r"<!-- (.*?) -->", drawn(notes=["AUC 0.99"])))
    for words in ("sick (20)", "well (40)", "hospital 2 (20)", "By class", "By collection",
                  "Features", "AUC 0.99"):  # fmt: skip
        assert words in text


def test_every_image_is_drawn_once_in_each_panel():
    assert len(re.findall(r"<use [^>]*fill-opacity: 0.85", drawn())) == 2 * 60


def test_the_same_points_give_the_same_picture():
    assert drawn() == drawn()


def test_png_is_a_picture_that_shows_both_colourings():
    pixels = np.asarray(Image.open(BytesIO(embedding_figure(XY, CLASSES, SOURCES, title="x"))))
    middle = pixels.shape[1] // 2
    left, right = (
        {tuple(c) for c in part.reshape(-1, part.shape[-1])[:, :3]}
        for part in (pixels[:, :middle], pixels[:, middle:])
    )
    assert (0, 114, 178) in left  # the first class
    assert (204, 121, 167) in right  # the first collection has another colour
    assert (0, 114, 178) not in right


def test_many_names_are_told_apart_by_marker_or_colour():
    names = [f"s{i}" for i in range(49)]
    assert len(set(colors_and_markers(names, 3).values())) == 49
    assert len({colour for colour, _ in colors_and_markers(names[:7], 0).values()}) == 7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"xy": XY[:0], "classes": [], "sources": []}, r"shape \(0, 2\)"),
        ({"xy": XY[:, :1]}, r"shape \(60, 1\)"),
        ({"classes": CLASSES[:-1]}, "60 points, 59 classes and 60 sources"),
    ],
)
def test_what_cannot_be_drawn_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        drawn(**changes)
