"""Kinds of input that are put to hurdles: how a case of each is made, and its door.

A door returns nothing where all is well; it raises what hurdles raises, and a `BrokenPromiseError`
where hurdles returned what it must not.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from fuzzing import dicom, mutations
from fuzzing.mutations import Rng, blind

__all__ = ["TARGETS", "BrokenPromiseError", "Target"]


class BrokenPromiseError(Exception):
    """What hurdles returned breaks a promise."""


class Target(NamedTuple):
    """One kind of input."""

    group: str
    suffix: str
    case: Callable[[Rng], bytes]
    enter: Callable[[Path], None]
    share: float = 1.0
    """How many of its group's cases it gets, beside the others."""


def _picture(dtype: str = "uint8") -> np.ndarray:
    noise = np.random.default_rng(5).random((22, 26)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return (smooth * np.iinfo(dtype).max).astype(dtype)


def _decoded(path: Path) -> None:
    from hurdles.errors import ImageError
    from hurdles.pixels.decode import decode, read_header

    try:
        pixels = decode(path)
    except ImageError as error:
        if error.path != path:
            raise BrokenPromiseError(f"an error without its file: {error}") from error
        raise
    if pixels.dtype != np.float32 or pixels.ndim != 2:
        raise BrokenPromiseError(f"decode returned {pixels.dtype} of shape {pixels.shape}")
    if not (pixels.min() >= 0 and pixels.max() <= 1):
        raise BrokenPromiseError(f"values from {pixels.min()} to {pixels.max()}")
    header = read_header(path)
    if (header.height, header.width) != pixels.shape:
        raise BrokenPromiseError(
            f"the header says {header.height, header.width}, pixels are {pixels.shape}"
        )


# --- pictures ------------------------------------------------------------------------------------


def _saved(kind: str, picture: np.ndarray | Image.Image, **options: object) -> bytes:
    coded = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(coded, kind, **options)
    return coded.getvalue()


@functools.cache
def _seeds(kind: str) -> tuple[bytes, ...]:
    grey, deep = _picture(), _picture("uint16")
    colour = Image.fromarray(grey).convert("RGB")
    palette, clear = colour.quantize(16), colour.convert("RGBA")
    if kind == "PNG":
        deep_colour = cv2.imencode(".png", np.dstack([deep] * 3))[1].tobytes()
        one = Image.fromarray(grey).convert("1")
        marked = _saved("PNG", grey, transparency=7)
        plain = [_saved("PNG", each) for each in (grey, deep, colour, palette, clear, one)]
        return (*plain, deep_colour, marked)
    if kind == "JPEG":
        turned = Image.Exif()
        turned[0x0112] = 6
        return (
            _saved("JPEG", grey), _saved("JPEG", grey, progressive=True), _saved("JPEG", colour),
            _saved("JPEG", colour.convert("CMYK")), _saved("JPEG", grey, exif=turned),
            _saved("JPEG", colour, subsampling=0, restart_marker_blocks=2),
        )  # fmt: skip
    if kind == "WebP":
        return (
            _saved("WEBP", colour), _saved("WEBP", colour, lossless=True),
            _saved("WEBP", clear), _saved("WEBP", clear, lossless=True),
        )  # fmt: skip
    if kind == "BMP":
        each = (grey, colour, palette, Image.fromarray(grey).convert("1"))
        return tuple(_saved("BMP", picture) for picture in each)
    ways = ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits")
    pictures = (grey, deep, colour, palette, clear)
    seeds = [_saved("TIFF", each, compression=way) for each in pictures for way in ways]
    deep_colour = cv2.imencode(".tiff", np.dstack([deep] * 3))[1].tobytes()
    fax = _saved("TIFF", Image.fromarray(grey).convert("1"), compression="group4")
    pages = _saved("TIFF", grey, save_all=True, append_images=[Image.fromarray(deep)])
    return (*seeds, deep_colour, fax, _saved("TIFF", colour, compression="jpeg"), pages)


def _picture_case(kind: str, rng: Rng) -> bytes:
    seeds = _seeds(kind)
    content = seeds[rng.integers(len(seeds))]
    knowing = {
        "PNG": mutations.png, "JPEG": mutations.jpeg, "WebP": mutations.webp,
        "TIFF": mutations.tiff,
    }.get(kind, blind)  # fmt: skip
    for _ in range(int(rng.choice((1, 1, 2, 3)))):
        content = _changed(content, rng, knowing)
    return content


def _changed(content: bytes, rng: Rng, knowing: Callable[[bytes, Rng], bytes]) -> bytes:
    if rng.random() < 0.35:
        return blind(content, rng)
    try:
        return knowing(content, rng)
    except Exception:  # an earlier change has broken what this one would read
        return blind(content, rng)


# --- tables and recipes --------------------------------------------------------------------------

_TABLE = (
    "path,label,patient,source,view,sex,age,split\n"
    + "".join(
        f"{name}.png,{label},p{i // 2},{source},PA,{sex},{30 + i},{part}\n"
        for i, (name, label, source, sex, part) in enumerate(
            zip("abcdefgh", ["Normal", "Sick"] * 4, ["A"] * 4 + ["B"] * 4, "FMFMFMFM",
                ["train"] * 4 + ["validation"] * 2 + ["test"] * 2, strict=True)
        )
    )
)  # fmt: skip


@functools.cache
def _table_folder() -> Path:
    """Return a folder with the images that the tables name."""
    folder = Path(tempfile.mkdtemp(prefix="hurdles-fuzz-"))
    for name in "abcdefgh":
        Image.fromarray(_picture()).save(folder / f"{name}.png")
    return folder


@functools.cache
def _workbook() -> bytes:
    import pandas as pd

    coded = io.BytesIO()
    pd.read_csv(io.StringIO(_TABLE)).to_excel(coded, index=False)
    return coded.getvalue()


@functools.cache
def _columns() -> bytes:
    import pandas as pd

    coded = io.BytesIO()
    pd.read_csv(io.StringIO(_TABLE)).to_parquet(coded)
    return coded.getvalue()


def _table_case(rng: Rng) -> bytes:
    plain = _TABLE.replace(",", (",", ";", "\t")[rng.integers(3)])
    encoding = ("utf-8", "utf-8-sig", "utf-16", "cp1252")[int(rng.choice((0, 0, 0, 1, 2, 3)))]
    return mutations.text(plain.encode(encoding), rng)


def _sheet_case(rng: Rng) -> bytes:
    """Change a part within the archive of a workbook, or its bytes."""
    import zipfile

    if rng.random() < 0.4:
        return blind(_workbook(), rng)
    with zipfile.ZipFile(io.BytesIO(_workbook())) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    chosen = sorted(parts)[rng.integers(len(parts))]
    parts[chosen] = (mutations.text if rng.random() < 0.3 else blind)(parts[chosen], rng)
    if rng.random() < 0.1:
        del parts[chosen]
    coded = io.BytesIO()
    with zipfile.ZipFile(coded, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return coded.getvalue()


def _table_read(path: Path) -> None:
    from hurdles.data.reading import read_manifest

    inside = _table_folder() / f"cohort{path.suffix}"
    shutil.copyfile(path, inside)
    manifest = read_manifest(inside)
    if len(manifest) == 0:
        raise BrokenPromiseError("a manifest without images was returned")
    if len(manifest) + len(manifest.exclusions) < 1 or manifest.frame["image"].duplicated().any():
        raise BrokenPromiseError("a manifest holds an image twice")


@functools.cache
def _recipes() -> tuple[bytes, ...]:
    from hurdles.recipe.recipe import load_recipe, shipped_recipes

    names = shipped_recipes()
    return tuple(load_recipe(name).to_toml().encode() for name in names)


def _recipe_case(rng: Rng) -> bytes:
    recipes = _recipes()
    return mutations.text(recipes[rng.integers(len(recipes))], rng)


def _recipe_read(path: Path) -> None:
    from hurdles.recipe.recipe import load_recipe

    recipe = load_recipe(path)
    path.with_name("again.toml").write_text(recipe.to_toml(), encoding="utf-8")
    again = load_recipe(path.with_name("again.toml"))
    if again != recipe or again.key != recipe.key:
        raise BrokenPromiseError(
            "a recipe that was read is another when it is written and read again"
        )


# --- run folders ---------------------------------------------------------------------------------


@functools.cache
def _run() -> Path:
    """Return the folder of a small finished run."""
    from hurdles import api
    from hurdles.phantom.cohort import write_phantom
    from hurdles.progress import Options
    from hurdles.recipe.recipe import Recipe

    folder = Path(tempfile.mkdtemp(prefix="hurdles-fuzz-"))
    write_phantom(folder / "phantom", 24, seed=1, size=64)
    recipe = Recipe(
        name="fuzz",
        description="a run to be damaged",
        preparation={"size": 32},
        split={"scheme": "patient", "fractions": (0.5, 0.25, 0.25)},
        training={"epochs": 1, "precision": "float32"},
        evaluation={"resamples": 100},
    )
    images = folder / "phantom" / "manifest.csv"
    options = Options(cache=folder / "cache")
    api.run(recipe, data=images, out=folder / "run", options=options)
    return folder / "run"


def _run_case(rng: Rng) -> bytes:
    """Draw a file of a run, whether its seal is set right afterwards, and its new content."""
    files = sorted(p for p in _run().rglob("*") if p.is_file() and p.suffix != ".html")
    path = files[rng.integers(len(files))]
    content = path.read_bytes()
    kind = rng.random()
    if kind < 0.05:
        changed = b""
    elif kind < 0.1:
        changed = files[rng.integers(len(files))].read_bytes()
    else:
        plain = path.suffix in (".csv", ".toml", ".json") and rng.random() < 0.6
        changed = (mutations.text if plain else blind)(content, rng)
    told = {"file": path.relative_to(_run()).as_posix(), "sealed": bool(rng.random() < 0.7)}
    return json.dumps(told).encode() + b"\n" + changed


def _run_read(path: Path) -> None:
    from hurdles import api
    from hurdles.runs.run import Run
    from hurdles.runs.seals import SEALS

    head, _, changed = path.read_bytes().partition(b"\n")
    told = json.loads(head)
    target, seals = _run() / told["file"], _run() / SEALS
    whole, names = target.read_bytes(), seals.read_bytes()
    try:
        target.write_bytes(changed)
        if told["sealed"] and target != seals:
            held = json.loads(names)
            if told["file"] in held:
                held[told["file"]] = hashlib.sha256(changed).hexdigest()
                seals.write_text(json.dumps(held))
        run = Run(_run()).require_finished()
        for epoch in ("best", "last"):
            run.network(epoch)
        for name in ("test", "validation"):
            run.predictions(name)
        run.evaluation()
        for name in ("history", "manifest", "given", "copies", "labels", "spec", "start"):
            part = getattr(run, name)
            _ = part() if callable(part) else part
        run.remarks()
        _ = run.copy_remarks
        if len(changed) % 10 == 0:
            api.report(_run())
    finally:
        target.write_bytes(whole)
        seals.write_bytes(names)


TARGETS = {
    **{
        kind: Target(
            "pictures", f".{kind.lower()}", functools.partial(_picture_case, kind), _decoded
        )
        for kind in ("PNG", "JPEG", "WebP", "TIFF", "BMP")
    },
    **{
        f"DICOM {name}": Target("DICOM", ".dcm", functools.partial(dicom.case, name), _decoded)
        for name in dicom.SYNTAXES
    },
    "CSV": Target("tables and recipes", ".csv", _table_case, _table_read, share=1.5),
    "Excel": Target("tables and recipes", ".xlsx", _sheet_case, _table_read),
    "Parquet": Target(
        "tables and recipes", ".parquet", lambda rng: blind(_columns(), rng), _table_read, 3.5
    ),
    "run folder": Target("run folders", ".run", _run_case, _run_read),
    "recipe": Target("tables and recipes", ".toml", _recipe_case, _recipe_read, share=4),
}
