"""Segmenting files: every image accounted for, nothing overwritten, nothing flagged mixed in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

import hurdles.lungs.training
from hurdles.errors import ConstantImageError, ManifestError, RunError
from hurdles.lungs import files as use
from hurdles.lungs.files import (
    COLUMNS,
    PER_SHEET,
    Sheets,
    image_files,
    mask_names,
    outlined,
    segment_images,
    thumbnail,
)
from hurdles.lungs.mask import LungMask


class Planted(nn.Module):
    """Calls lung what is bright."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - 0.5) * 50


@pytest.fixture(autouse=True)
def _planted(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(path: Path | None = None) -> tuple[nn.Module, dict[str, str]]:
        if path is not None:
            raise RunError(f"{path} is missing.")
        return Planted(), {}

    monkeypatch.setattr(hurdles.lungs.training, "load_lungs", load)


def radiograph(shape: tuple[int, int] = (200, 180), sides: str = "lr") -> NDArray[np.uint8]:
    height, width = shape
    image = np.full(shape, 20, np.uint8)
    for side in (-1 if name == "l" else 1 for name in sides):
        shares = ((0.06, 0.15), (0.35, 0.75), (0.06, 0.65))
        corners = [((0.5 + side * x) * (width - 1), y * (height - 1)) for x, y in shares]
        cv2.fillPoly(image, [np.rint(corners).astype(np.int32)], 230)
    return image


def write(path: Path, pixels: NDArray[np.uint8] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = radiograph() if pixels is None else pixels
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())
    return path


def files_below(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def read_mask(path: Path) -> NDArray[np.uint8]:
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))


# --- what is written -----------------------------------------------------------------------------


def test_each_image_is_accounted_for_and_flagged_masks_lie_apart(tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    write(data / "good.png")
    write(data / "deep" / "er" / "one lung.png", radiograph(sides="r"))
    write(data / "flat.png", np.full((20, 20), 7, np.uint8))
    (data / "text.png").write_text("no image")
    (data / "notes.txt").write_text("left out")
    table = segment_images([data], out=out).set_index("image")
    assert table["status"].to_dict() == {
        "one lung": "flagged",
        "flat": "unreadable",
        "good": "ok",
        "text": "unreadable",
    }
    assert "one part only" in table.loc["one lung", "flaw"]
    assert "every pixel has the same value" in table.loc["flat", "flaw"]
    assert "neither PNG, JPEG" in table.loc["text", "flaw"]
    assert files_below(out) == [
        "flagged/one lung.png",
        "flagged/sheet.png",
        "good.png",
        "masks.csv",
        "sheet.png",
    ]


def test_the_table_is_the_file_and_says_what_its_columns_promise(tmp_path):
    paths = [write(tmp_path / "a.png"), write(tmp_path / "b.png", radiograph(sides="r"))]
    paths.append(write(tmp_path / "c.png", radiograph(sides="l")))
    paths.append(write(tmp_path / "d.png", np.zeros((9, 9), np.uint8)))
    table = segment_images(paths, out=tmp_path / "out")
    saved = pd.read_csv(tmp_path / "out" / "masks.csv", keep_default_na=False)
    assert list(saved) == list(table) == list(COLUMNS)
    assert saved["image"].tolist() == ["a", "b", "c", "d"]
    assert saved["path"].tolist() == [str(p) for p in paths]
    assert saved["mask"].tolist() == ["a.png", "flagged/b.png", "flagged/c.png", ""]
    assert saved.loc[3, ["area", "left", "right"]].tolist() == ["", "", ""]
    a, b, c = (table.loc[i] for i in range(3))
    assert a["area"] == pytest.approx(a["left"] + a["right"])
    assert a["left"] == pytest.approx(a["right"], rel=0.1)
    assert (b["left"], c["right"]) == (0, 0)
    assert b["right"] == pytest.approx(a["right"], rel=0.05)
    assert c["left"] == pytest.approx(a["left"], rel=0.05)


@pytest.mark.parametrize("shape", [(200, 180), (90, 700), (1024, 1024), (3000, 300)])
def test_a_mask_has_the_size_of_its_image(tmp_path, shape):
    image = radiograph(shape)
    segment_images([write(tmp_path / "a.png", image)], out=tmp_path / "out")
    mask = read_mask(tmp_path / "out" / "a.png")
    assert mask.shape == shape
    assert set(np.unique(mask)) == {0, 255}
    bright = image > 128
    overlap = (bright & (mask > 0)).sum() * 2 / (bright.sum() + (mask > 0).sum())
    assert overlap > 0.93  # the tips of triangles are no lungs


def test_very_wide_images_and_single_pixels_are_no_trouble(tmp_path):
    rng = np.random.default_rng(0)
    wide = write(tmp_path / "wide.png", rng.integers(0, 256, (40, 20_000), dtype=np.uint8))
    dot = write(tmp_path / "dot.png", np.full((1, 1), 9, np.uint8))
    line = write(tmp_path / "line.png", np.array([[0, 255]], np.uint8))
    table = segment_images([wide, dot, line], out=tmp_path / "out")
    assert table["status"].tolist() == ["flagged", "unreadable", "flagged"]
    assert read_mask(tmp_path / "out/flagged/wide.png").shape == (40, 20_000)
    assert read_mask(tmp_path / "out/flagged/line.png").shape == (1, 2)


def test_many_images_keep_their_order_and_fill_several_sheets(tmp_path):
    count = PER_SHEET + 5
    paths = [write(tmp_path / f"{i:03}.png", radiograph((60, 50 + i))) for i in range(count)]
    paths.insert(20, write(tmp_path / "bad.png", np.zeros((5, 5), np.uint8)))
    table = segment_images(paths, out=tmp_path / "out")
    good = table[table["status"] == "ok"]
    assert table["image"].tolist() == [p.stem for p in paths]
    assert len(good) == count
    widths = [read_mask(tmp_path / "out" / name).shape[1] for name in good["mask"]]
    assert widths == [50 + i for i in range(count)]
    assert [p.name for p in sorted((tmp_path / "out").glob("sheet*"))] == [
        "sheet-1.png",
        "sheet-2.png",
    ]


def test_a_second_call_replaces_what_the_first_one_wrote(tmp_path):
    out, path = tmp_path / "out", tmp_path / "a.png"
    write(path, radiograph(sides="r"))
    segment_images([path], out=out)
    write(path)
    segment_images([path], out=out)
    assert files_below(out) == ["a.png", "masks.csv", "sheet.png"]
    write(path, radiograph(sides="l"))
    segment_images([path], out=out)
    assert files_below(out) == ["flagged/a.png", "flagged/sheet.png", "masks.csv", "sheet.png"]


def test_an_interrupted_call_leaves_no_table_of_another(tmp_path, monkeypatch):
    out, path = tmp_path / "out", write(tmp_path / "a.png")
    segment_images([path], out=out)

    def broken(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(use, "write_bytes", broken)
    with pytest.raises(OSError, match="no space left"):
        segment_images([path], out=out)
    assert files_below(out) == ["a.png"]


def test_stopping_names_the_first_bad_file(tmp_path):
    good, bad = write(tmp_path / "a.png"), write(tmp_path / "b.png", np.ones((5, 5), np.uint8))
    with pytest.raises(ConstantImageError, match=r"b\.png: every pixel"):
        segment_images([good, bad], out=tmp_path / "out", on_bad="stop")


def test_lungs_that_are_not_found_never_stop(tmp_path):
    path = write(tmp_path / "a.png", radiograph(sides="r"))
    assert segment_images([path], out=tmp_path / "out", on_bad="stop")["status"].tolist() == [
        "flagged"
    ]


def test_bad_weights_are_said_before_anything_is_written(tmp_path):
    path = write(tmp_path / "a.png")
    with pytest.raises(RunError, match=r"w\.safetensors is missing"):
        segment_images([path], out=tmp_path / "out", weights=tmp_path / "w.safetensors")
    assert not (tmp_path / "out").exists()


def test_progress_counts_every_image(tmp_path):
    class Listener:
        def __init__(self) -> None:
            self.total, self.done, self.lines = 0, 0, []

        def start(self, stage: str, total: int) -> None:
            self.total = total

        def advance(self, steps: int = 1, note: str = "") -> None:
            self.done += steps

        def say(self, line: str) -> None:
            self.lines.append(line)

    for i in range(20):
        write(tmp_path / "d" / f"{i}.png", radiograph((40, 40)))
    (tmp_path / "d" / "x.txt").write_text("")
    listener = Listener()
    segment_images([tmp_path / "d"], out=tmp_path / "out", progress=listener)
    assert (listener.total, listener.done) == (20, 20)
    assert listener.lines == ["left out, being no images by their names: 1 of the folders' files"]


# --- which files ---------------------------------------------------------------------------------


def test_folders_are_searched_and_earlier_results_left_out(tmp_path):
    write(tmp_path / "a.png")
    write(tmp_path / "x" / "b.jpg")
    out = tmp_path / "masks"
    for _ in range(2):
        table = segment_images([tmp_path], out=out)
        assert table["image"].tolist() == ["a", "b"]


def test_an_image_met_twice_counts_once(tmp_path):
    path = write(tmp_path / "d" / "a.png")
    (tmp_path / "link.png").symlink_to(path)
    files, others = image_files([path, tmp_path / "d", tmp_path / "link.png"], tmp_path / "out")
    assert (files, others) == ([path], 0)


def test_an_image_is_never_replaced_by_its_mask(tmp_path):
    path = write(tmp_path / "a.png")
    before = path.read_bytes()
    with pytest.raises(ManifestError, match=r"a\.png lies in .*give another folder"):
        segment_images([path], out=tmp_path)
    with pytest.raises(ManifestError, match="is the folder for the results too"):
        segment_images([tmp_path], out=tmp_path)
    assert path.read_bytes() == before
    assert files_below(tmp_path) == ["a.png"]


def test_nothing_to_do_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ManifestError, match="there is no image to segment"):
        segment_images([tmp_path / "empty"], out=tmp_path / "out")
    with pytest.raises(ManifestError, match=r"nowhere\.png does not exist"):
        segment_images([tmp_path / "nowhere.png"], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_results_need_a_folder(tmp_path):
    path, taken = write(tmp_path / "a.png"), tmp_path / "out"
    taken.write_text("mine")
    with pytest.raises(ManifestError, match="out is no folder"):
        segment_images([path], out=taken)
    assert taken.read_text() == "mine"


# --- names ---------------------------------------------------------------------------------------


def test_two_images_of_one_name_get_a_mask_each(tmp_path):
    left = write(tmp_path / "x" / "a.png", radiograph((60, 50)))
    right = write(tmp_path / "y" / "a.png", radiograph((60, 70)))
    table = segment_images([left, right], out=tmp_path / "out")
    assert table["image"].tolist() == ["x__a", "y__a"]
    assert [read_mask(tmp_path / "out" / m).shape[1] for m in table["mask"]] == [50, 70]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a.png", "b.png"], ["a", "b"]),
        (["x/1.png", "y/1.png", "2.png"], ["x__1", "y__1", "2"]),
        (["1.png", "y/1.png"], ["1", "y__1"]),
        (["x/1.png", "x/1.jpg"], ["1_png", "1_jpg"]),
        (["x/A.png", "y/a.png"], ["x__A", "y__a"]),
        (["sheet.png", "Sheet-12.png", "sheets.png"], ["sheet_2", "Sheet-12_2", "sheets"]),
        (["x/1.png", "y/1.png", "x__1.png"], ["x__1", "y__1", "x__1_2"]),
        (["IM-0001.123.dcm", "study"], ["IM-0001.123", "study"]),
    ],
)
def test_names_are_short_where_they_can_be(paths, names):
    assert mask_names([Path(p) for p in paths]) == names


PART = st.text("abAB.-_ éß日", min_size=1, max_size=3).filter(lambda t: t.strip(". ") != "")


@given(st.lists(st.lists(PART, min_size=1, max_size=3).map(lambda p: Path(*p)), unique=True))
def test_names_never_collide_whatever_the_paths(paths):
    names = mask_names(paths)
    assert len(names) == len(paths)
    assert len({name.casefold() for name in names}) == len(names)
    assert all(os.sep not in name and name for name in names)


def test_long_names_fit_a_file_system(tmp_path):
    paths = [write(tmp_path / f / ("ü" * 120 + ".png"), radiograph((40, 40))) for f in "xy"]
    table = segment_images(paths, out=tmp_path / "out")
    assert table["image"].nunique() == 2
    assert all((tmp_path / "out" / mask).is_file() for mask in table["mask"])


# --- sheets --------------------------------------------------------------------------------------


def test_the_outline_runs_along_the_mask_and_its_colour_says_the_verdict():
    mask = np.zeros((256, 256), bool)
    mask[64:192, 64:192] = True
    image = np.zeros((200, 100), np.uint8)
    good, bad = (outlined(image, LungMask(mask, flaw, (0.25,))) for flaw in ("", "ragged"))
    drawn = good.any(2)
    assert drawn[50, 25:75].all()
    assert drawn[50:150, 25].all()
    assert not drawn[60:140, 30:70].any()
    assert not drawn[:45].any()
    assert (bad.any(2) == drawn).all()
    assert good[50, 50, 2] > good[50, 50, 0]  # blue
    assert bad[50, 50, 0] > bad[50, 50, 2]  # red


def test_a_thumbnail_keeps_the_shape_of_the_image():
    assert thumbnail(np.zeros((1000, 500), np.float32)).shape == (200, 100)
    assert thumbnail(np.zeros((5, 20_000), np.float32)).shape == (1, 200)
    small = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    assert (thumbnail(small).ravel() == np.arange(256)).all()


def test_an_empty_sheet_is_not_written(tmp_path):
    Sheets(tmp_path).close()
    assert files_below(tmp_path) == []


@pytest.mark.parametrize(
    ("count", "files"),
    [
        (PER_SHEET, ["sheet.png"]),
        (PER_SHEET + 1, ["sheet-1.png", "sheet-2.png"]),
    ],
)
def test_a_sheet_is_numbered_only_where_there_are_several(tmp_path, count, files):
    sheets = Sheets(tmp_path)
    for i in range(count):
        sheets.add(np.zeros((4, 4), np.uint8), LungMask(np.eye(4, dtype=bool), "", (0.1,)), str(i))
    sheets.close()
    assert files_below(tmp_path) == files
