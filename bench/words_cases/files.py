"""Nothing is destroyed, and nothing damaged is used."""

from __future__ import annotations

import tempfile
from pathlib import Path

from words_cases import case, command

_DAMAGED = "Nothing damaged is used"
_DESTROYED = "No output destroys an input or a file of the user's"


def _phantom(patients: int = 12) -> Path:
    """Return the table of a small phantom in a folder of its own."""
    from hurdles.data.phantom import write_phantom

    folder = Path(tempfile.mkdtemp())
    write_phantom(folder, patients, seed=1, size=64)
    (folder / "manifest.csv").rename(folder / "my.csv")
    return folder / "my.csv"


def _kept(path: Path, before: bytes, code: int) -> str:
    kept = path.is_file() and path.read_bytes() == before
    return f"{'kept' if kept else 'DESTROYED'}, exit code {code}"


@case(_DESTROYED, "check my.csv --out my.html, which also writes my.csv", "kept, exit code 2")
def table_beside_the_page() -> str:
    table = _phantom()
    before = table.read_bytes()
    said = command("check", table, "--hurdle", "size", "--out", table.with_suffix(".html"))
    return _kept(table, before, said.code)


@case(_DESTROYED, "lineage one.png's folder --out one.png --force", "kept, exit code 2")
def radiograph_as_output() -> str:
    table = _phantom()
    image = sorted(table.parent.rglob("*.png"))[0]
    before = image.read_bytes()
    force = ["--force"] if "--force" in command("lineage", "--help").out else []
    return _kept(image, before, command("lineage", table, "--out", image, *force).code)


@case(_DESTROYED, "check my.csv --out thesis.html, a page of somebody else's", "kept, exit code 2")
def page_of_somebody_else() -> str:
    table = _phantom()
    page = table.with_name("thesis.html")
    page.write_text("three years of work")
    said = command("check", table, "--hurdle", "size", "--out", page)
    return _kept(page, b"three years of work", said.code)


@case(
    _DAMAGED,
    "one byte of the pixels in a cache pack is flipped",
    "the pixels of the files",
)
def flipped_byte_in_a_pack() -> str:
    import numpy as np

    from hurdles.data.cache import prepare
    from hurdles.data.manifest import Manifest
    from hurdles.imaging.prepare import Preparation

    images, folder = Manifest.load(_phantom()), Path(tempfile.mkdtemp())
    right = np.array(prepare(images, Preparation(32), cache=folder).pixels)
    (pack,) = folder.rglob("*.pack")
    content = bytearray(pack.read_bytes())
    content[len(content) // 3] ^= 128
    pack.write_bytes(content)
    same = np.array_equal(prepare(images, Preparation(32), cache=folder).pixels, right)
    return "the pixels of the files" if same else "other pixels, without a word"


@case(_DAMAGED, "who may read the patients' pixels in a new cache", "the user alone")
def rights_of_the_cache() -> str:
    from hurdles.data.cache import prepare
    from hurdles.data.manifest import Manifest
    from hurdles.imaging.prepare import Preparation

    folder = Path(tempfile.mkdtemp()) / "cache"
    prepare(Manifest.load(_phantom()), Preparation(32), cache=folder)
    (pack,) = folder.rglob("*.pack")
    rights = {oct(each.stat().st_mode & 0o77) for each in (folder, pack.parent)}
    return "the user alone" if rights == {"0o0"} else "everybody"
