"""How large the cache is, and that emptying it takes nothing else."""

from __future__ import annotations

from hurdles.phantom.cohort import write_phantom
from hurdles.pixels.cache import empty_cache, prepare, stored
from hurdles.pixels.prepare import Preparation


def test_a_cache_that_was_never_used_is_empty(tmp_path):
    assert (stored(tmp_path / "none").n_files, stored(tmp_path / "none").n_bytes) == (0, 0)
    assert empty_cache(tmp_path / "none").n_files == 0


def test_emptying_removes_what_hurdles_put_there_and_nothing_else(tmp_path):
    images = write_phantom(tmp_path / "phantom-1", 3, seed=1, size=32)
    prepare(images, Preparation(16), cache=tmp_path)
    theirs = [
        tmp_path / "thesis.docx",
        tmp_path / "hashes" / "mine.txt",
        tmp_path / "phantom-of-mine",
    ]
    theirs[2].mkdir()
    theirs.append(theirs[2] / "a.png")
    for path in (theirs[0], theirs[1], theirs[3]):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"theirs")
    held = stored(tmp_path)
    assert held.n_bytes > 3 * 16 * 16
    assert str(held).startswith(f"{tmp_path}: {held.n_files} files, 0.")
    assert empty_cache(tmp_path) == held
    assert {p for p in tmp_path.rglob("*") if p.is_file()} == {theirs[0], theirs[1], theirs[3]}
    assert stored(tmp_path).n_files == 0
