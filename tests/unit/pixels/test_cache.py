"""The cache: nothing is decoded twice, nothing is lost, nothing is half written."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from hurdles.data import files as whole
from hurdles.data.manifest import Manifest
from hurdles.data.vocabulary import OnBad
from hurdles.errors import CacheError, ImageError, ManifestError, TruncatedImageError
from hurdles.pixels import cache as module
from hurdles.pixels import packs
from hurdles.pixels.cache import Prepared, cache_folder, default_cache, prepare
from hurdles.pixels.decode import decode, decode_levels
from hurdles.pixels.prepare import Preparation

SIZE = 16
PREPARATION = Preparation(size=SIZE)


def write_image(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 20), dtype=np.uint8)
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    settled = time.time() - 3600
    os.utime(path, (settled, settled))
    return path


def manifest_of(paths: list[Path]) -> Manifest:
    rows = {"image": [p.name for p in paths], "path": [str(p) for p in paths], "label": "x"}
    return Manifest(pd.DataFrame(rows, columns=["image", "path", "label"]))


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return manifest_of([write_image(tmp_path / "images" / f"{i}.png", i) for i in range(12)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the name of every file that is decoded."""
    seen: list[str] = []

    def recorded(path: str, **options: Any) -> np.ndarray:
        seen.append(Path(path).name)
        return decode_levels(path, **options)

    monkeypatch.setattr(module, "decode_levels", recorded)
    return seen


def expected(manifest: Manifest) -> np.ndarray:
    return np.stack([PREPARATION(decode(path)) for path in manifest.frame["path"]])


def files(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.rglob(pattern))


# --- what comes back -----------------------------------------------------------------------------


def test_pixels_are_what_decoding_and_preparing_gives(manifest: Manifest, folder: Path) -> None:
    prepared = prepare(manifest, PREPARATION, cache=folder)
    assert isinstance(prepared.pixels, np.memmap)
    assert prepared.pixels.dtype == np.uint8
    np.testing.assert_array_equal(prepared.pixels, expected(manifest))
    assert prepared.manifest is manifest
    with pytest.raises(ValueError, match="read-only"):
        prepared.pixels[0] = 0


def test_bytes_that_fit_are_those_that_decoding_and_preparing_gives(
    tmp_path: Path, folder: Path
) -> None:
    paths = [tmp_path / f"{i}.jpeg" for i in range(3)]
    for i, path in enumerate(paths):
        pixels = np.random.default_rng(i).integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
        path.write_bytes(cv2.imencode(".jpeg", pixels)[1].tobytes())
    manifest = manifest_of(paths)
    prepared = prepare(manifest, PREPARATION, cache=folder)
    np.testing.assert_array_equal(prepared.pixels, expected(manifest))


def test_index_follows_names(manifest: Manifest, folder: Path) -> None:
    prepared = prepare(manifest, PREPARATION, cache=folder)
    assert prepared.index(["7.png", "0.png"]).tolist() == [7, 0]
    assert prepared.index([]).tolist() == []
    with pytest.raises(ManifestError, match=r"1 of 2 images were not prepared.*'no\.png'"):
        prepared.index(["7.png", "no.png"])


def test_one_image_and_none(tmp_path: Path, folder: Path) -> None:
    one = prepare(manifest_of([write_image(tmp_path / "a.png", 0)]), PREPARATION, cache=folder)
    assert one.pixels.shape == (1, SIZE, SIZE)
    for _ in range(2):
        nothing = prepare(manifest_of([]), PREPARATION, cache=folder)
        assert (len(nothing), nothing.pixels.shape) == (0, (0, SIZE, SIZE))


def test_paths_with_spaces_and_other_scripts(tmp_path: Path) -> None:
    names = ["Thorax a.p. 1.png", "Größe.png", "胸部 X線.png", "a\nb.png"]
    manifest = manifest_of(
        [write_image(tmp_path / "Bilder 胸部" / n, i) for i, n in enumerate(names)]
    )
    for _ in range(2):
        prepared = prepare(manifest, PREPARATION, cache=tmp_path / "mein Cache ü")
        np.testing.assert_array_equal(prepared.pixels, expected(manifest))


def test_a_prepared_set_goes_to_another_process_by_its_path(
    manifest: Manifest, folder: Path
) -> None:
    prepared = prepare(manifest, PREPARATION, cache=folder)
    carried = pickle.dumps(prepared)
    again = pickle.loads(carried)
    assert isinstance(again.pixels, np.memmap)
    np.testing.assert_array_equal(again.pixels, prepared.pixels)
    assert again.index(["3.png"]).tolist() == [3]


def test_rows_and_images_must_agree(manifest: Manifest) -> None:
    with pytest.raises(CacheError, match="3 prepared images for 12 rows"):
        Prepared(manifest, np.zeros((3, SIZE, SIZE), np.uint8))


def test_progress_counts_up_to_all(manifest: Manifest, folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    prepare(manifest, PREPARATION, cache=folder, progress=lambda *step: seen.append(step))
    assert seen == [(i, 12) for i in range(13)]
    seen.clear()
    prepare(manifest, PREPARATION, cache=folder, progress=lambda *step: seen.append(step))
    assert seen == [(12, 12)]


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_gives_the_same(
    manifest: Manifest, folder: Path, workers: int
) -> None:
    prepared = prepare(manifest, PREPARATION, cache=folder, workers=workers)
    np.testing.assert_array_equal(prepared.pixels, expected(manifest))


# --- nothing is decoded twice --------------------------------------------------------------------


def test_a_second_run_decodes_and_hashes_nothing(
    manifest: Manifest, folder: Path, decodings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SETTLED_NS", 0)  # these files are younger than three seconds
    first = prepare(manifest, PREPARATION, cache=folder)
    assert len(decodings) == 12
    monkeypatch.setattr(module, "file_hash", lambda path: pytest.fail(f"{path} was hashed again"))
    second = prepare(manifest, PREPARATION, cache=folder)
    assert len(decodings) == 12
    np.testing.assert_array_equal(first.pixels, second.pixels)


def test_ten_more_images_cost_ten_decodings(
    manifest: Manifest, folder: Path, tmp_path: Path, decodings: list[str]
) -> None:
    prepare(manifest, PREPARATION, cache=folder)
    decodings.clear()
    more = [write_image(tmp_path / "more" / f"n{i}.png", 100 + i) for i in range(10)]
    paths = [Path(p) for p in manifest.frame["path"]]
    grown = manifest_of(more[:5] + paths + more[5:])
    prepared = prepare(grown, PREPARATION, cache=folder)
    assert sorted(decodings) == sorted(p.name for p in more)
    np.testing.assert_array_equal(prepared.pixels, expected(grown))


def test_parts_and_other_orders_decode_nothing(
    manifest: Manifest, folder: Path, decodings: list[str]
) -> None:
    prepare(manifest, PREPARATION, cache=folder)
    decodings.clear()
    paths = [Path(p) for p in manifest.frame["path"]]
    part = manifest_of(paths[::-2])
    np.testing.assert_array_equal(prepare(part, PREPARATION, cache=folder).pixels, expected(part))
    assert decodings == []


def test_moved_and_copied_files_are_known_by_their_content(
    manifest: Manifest, folder: Path, tmp_path: Path, decodings: list[str]
) -> None:
    prepare(manifest, PREPARATION, cache=folder)
    decodings.clear()
    paths = [Path(p) for p in manifest.frame["path"]]
    moved = paths[0].rename(tmp_path / "moved.png")
    copied = tmp_path / "copied.png"
    copied.write_bytes(paths[1].read_bytes())
    prepared = prepare(manifest_of([copied, moved, *paths[1:]]), PREPARATION, cache=folder)
    assert decodings == []
    np.testing.assert_array_equal(prepared.pixels[0], prepared.pixels[2])


@pytest.mark.parametrize("keep_times", [False, True])
def test_a_changed_file_is_decoded_again(
    manifest: Manifest,
    folder: Path,
    decodings: list[str],
    keep_times: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_SETTLED_NS", 0)
    prepare(manifest, PREPARATION, cache=folder)
    decodings.clear()
    path = Path(manifest.frame["path"][4])
    before = path.stat()
    write_image(path, 999)
    if keep_times:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    prepared = prepare(manifest, PREPARATION, cache=folder)
    assert decodings == ["4.png"]
    np.testing.assert_array_equal(prepared.pixels, expected(manifest))


def test_a_file_that_has_only_just_changed_is_not_trusted(manifest: Manifest, folder: Path) -> None:
    prepare(manifest, PREPARATION, cache=folder)  # written within the last three seconds
    assert files(folder, "hashes/*.json") == []


def test_settings_have_entries_of_their_own(
    manifest: Manifest, folder: Path, decodings: list[str]
) -> None:
    prepare(manifest, PREPARATION, cache=folder)
    other = prepare(manifest, Preparation(size=8), cache=folder)
    assert other.pixels.shape == (12, 8, 8)
    assert len(decodings) == 24


def test_a_new_decoder_decodes_again(
    manifest: Manifest, folder: Path, decodings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(manifest, PREPARATION, cache=folder)
    monkeypatch.setattr(module, "DECODER_VERSION", 999)
    prepare(manifest, PREPARATION, cache=folder)
    assert len(decodings) == 24


def test_batches_are_gone_once_a_whole_set_holds_them(
    manifest: Manifest, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BATCH_BYTES", 5 * SIZE * SIZE)
    prepared = prepare(manifest, PREPARATION, cache=folder)
    assert [len(files(folder, p)) for p in ("*.pack", "*.batch", ".*.part")] == [1, 0, 0]
    np.testing.assert_array_equal(prepared.pixels, expected(manifest))


def test_what_was_prepared_for_some_seconds_is_put_away(
    manifest: Manifest, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_away, batches = packs.Packs.put_away, []

    def recorded(self: packs.Packs, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        batches.append(len(rows))
        return put_away(self, rows)

    monkeypatch.setattr(packs.Packs, "put_away", recorded)
    prepare(manifest, PREPARATION, cache=folder)
    assert batches == []  # written once, with the whole set
    monkeypatch.setattr(module, "_BATCH_S", -1)
    prepared = prepare(manifest, PREPARATION, cache=folder / "other")
    assert batches == [1] * 11
    np.testing.assert_array_equal(prepared.pixels, expected(manifest))


def test_batches_of_a_process_that_was_killed_before_it_removed_them_are_gone(
    manifest: Manifest, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(module, "_BATCH_BYTES", 6 * SIZE * SIZE)
        patch.setattr(packs.Packs, "_remove_batches", lambda self, keys: None)
        prepare(manifest, PREPARATION, cache=folder)
    assert len(files(folder, "*.batch")) == 1
    prepare(manifest, PREPARATION, cache=folder)
    assert [len(files(folder, p)) for p in ("*.pack", "*.batch")] == [1, 0]


def test_a_pack_opens_with_numpy_alone(manifest: Manifest, folder: Path) -> None:
    prepared = prepare(manifest, PREPARATION, cache=folder)
    (pack,) = files(folder, "*.pack")
    np.testing.assert_array_equal(np.load(pack, mmap_mode="r"), prepared.pixels)


# --- files that cannot be read -------------------------------------------------------------------


def spoilt(manifest: Manifest) -> Manifest:
    """Cut one image short, replace one by text, and lose one."""
    paths = [Path(p) for p in manifest.frame["path"]]
    paths[2].write_bytes(paths[2].read_bytes()[:100])
    paths[5].write_text("not an image")
    paths[9].unlink()
    return manifest


def test_skipped_files_are_listed_with_the_reason(manifest: Manifest, folder: Path) -> None:
    whole = spoilt(manifest)
    for _ in range(2):
        prepared = prepare(whole, PREPARATION, cache=folder, on_bad="skip")
        skipped = prepared.manifest.exclusions
        assert len(whole) == len(prepared) + len(skipped)
        assert [Path(p).name for p in skipped["path"]] == ["2.png", "5.png", "9.png"]
        for reason, word in zip(
            skipped["reason"], ["damaged|ends", "neither", "No such file"], strict=True
        ):
            assert any(part in reason for part in word.split("|"))
        np.testing.assert_array_equal(prepared.pixels, expected(prepared.manifest))
        assert prepared.index(["10.png"]).tolist() == [7]


def test_what_was_excluded_before_stays_listed(manifest: Manifest, folder: Path) -> None:
    before = manifest.without(["0.png"], ["lateral view"])
    prepared = prepare(spoilt(before), PREPARATION, cache=folder)
    assert len(prepared) == 8
    assert len(prepared.manifest.exclusions) == 4
    assert prepared.manifest.exclusions["reason"][0] == "lateral view"


def test_stop_raises_for_the_first_and_keeps_what_was_decoded(
    manifest: Manifest, folder: Path, decodings: list[str]
) -> None:
    paths = [Path(p) for p in manifest.frame["path"]]
    paths[5].write_text("not an image")
    paths[2].write_bytes(paths[2].read_bytes()[:100])
    with pytest.raises(TruncatedImageError, match=r"2\.png: .*fetch it again"):
        prepare(manifest, PREPARATION, cache=folder, on_bad=OnBad.STOP)
    decodings.clear()
    prepare(manifest, PREPARATION, cache=folder)
    assert sorted(decodings) == ["2.png", "5.png"]


def test_stop_raises_for_a_missing_file_before_decoding(
    manifest: Manifest, folder: Path, decodings: list[str]
) -> None:
    Path(manifest.frame["path"][3]).unlink()
    with pytest.raises(ImageError, match=r"3\.png: the file cannot be opened"):
        prepare(manifest, PREPARATION, cache=folder, on_bad="stop")
    assert decodings == []


def test_two_bad_files_of_one_content_are_two_rows(tmp_path: Path, folder: Path) -> None:
    paths = [tmp_path / "a.png", tmp_path / "b.png", write_image(tmp_path / "c.png", 1)]
    for path in paths[:2]:
        path.write_text("the same text")
    prepared = prepare(manifest_of(paths), PREPARATION, cache=folder)
    assert len(prepared) == 1
    assert prepared.manifest.exclusions["path"].tolist() == [str(p) for p in paths[:2]]


def test_all_bad_leaves_an_empty_set(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("text")
    prepared = prepare(manifest_of([path]), PREPARATION, cache=folder)
    assert (len(prepared), len(prepared.manifest.exclusions)) == (0, 1)


def test_the_limit_of_pixels_is_passed_on(manifest: Manifest, folder: Path) -> None:
    prepared = prepare(manifest, PREPARATION, cache=folder, max_pixels=100)
    assert len(prepared) == 0
    assert "more than 100 in all" in prepared.manifest.exclusions["reason"][0]


def test_a_file_that_changes_while_it_is_read_is_not_cached(
    manifest: Manifest, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rewritten(path: str, **options: Any) -> np.ndarray:
        if Path(path).name == "6.png":
            write_image(Path(path), 4242)
        return decode_levels(path, **options)

    monkeypatch.setattr(module, "decode_levels", rewritten)
    prepared = prepare(manifest, PREPARATION, cache=folder)
    assert prepared.manifest.exclusions["reason"].tolist() == [
        "the file changed while it was read; run again."
    ]


def test_a_preparation_that_breaks_its_word_is_named(manifest: Manifest, folder: Path) -> None:
    class Wrong:
        size, key = SIZE, "wrong"

        def __call__(self, pixels: np.ndarray) -> np.ndarray:
            return pixels

    with pytest.raises(CacheError, match=r"preparation 'wrong' made float32 \(24, 20\)"):
        prepare(manifest, Wrong(), cache=folder)


# --- damage, kills, company ----------------------------------------------------------------------


def cut(pack: Path) -> None:
    os.truncate(pack, pack.stat().st_size - 5)


def empty(pack: Path) -> None:
    os.truncate(pack, 0)


def half(pack: Path) -> None:
    os.truncate(pack, pack.stat().st_size // 2)


def lose_the_middle(pack: Path) -> None:
    content = pack.read_bytes()
    pack.write_bytes(content[:1000] + content[1010:])


def spoil_footer(pack: Path) -> None:
    content = bytearray(pack.read_bytes())
    content[-200] ^= 1
    pack.write_bytes(content)


def spoil_header(pack: Path) -> None:
    content = pack.read_bytes()
    pack.write_bytes(content.replace(b"(12, 16, 16)", b"(12, 16, 17)"))


@pytest.mark.parametrize("damage", [cut, empty, half, lose_the_middle, spoil_footer, spoil_header])
def test_a_damaged_pack_is_noticed_and_rebuilt(
    manifest: Manifest, folder: Path, decodings: list[str], damage: Any
) -> None:
    prepare(manifest, PREPARATION, cache=folder)
    (pack,) = files(folder, "*.pack")
    damage(pack)
    decodings.clear()
    prepared = prepare(manifest, PREPARATION, cache=folder)
    assert len(decodings) == 12
    np.testing.assert_array_equal(prepared.pixels, expected(manifest))


def test_a_flipped_byte_anywhere_in_a_pack_changes_no_pixel(
    manifest: Manifest, folder: Path, decodings: list[str]
) -> None:
    prepare(manifest, PREPARATION, cache=folder)
    (pack,) = files(folder, "*.pack")
    whole_pack = pack.read_bytes()
    for position in np.linspace(0, len(whole_pack) - 1, 40).astype(int):
        content = bytearray(whole_pack)
        content[position] ^= 1
        pack.write_bytes(content)
        prepared = prepare(manifest, PREPARATION, cache=folder)
        np.testing.assert_array_equal(prepared.pixels, expected(manifest))


def test_a_flipped_pixel_costs_one_decoding(
    manifest: Manifest, folder: Path, decodings: list[str]
) -> None:
    prepare(manifest, PREPARATION, cache=folder)
    (pack,) = files(folder, "*.pack")
    content = bytearray(pack.read_bytes())
    content[content.index(b"\n") + 1 + 3 * SIZE * SIZE] ^= 1  # the first pixel of the fourth image
    pack.write_bytes(content)
    decodings.clear()
    prepared = prepare(manifest, PREPARATION, cache=folder)
    assert decodings == ["3.png"]
    np.testing.assert_array_equal(prepared.pixels, expected(manifest))


def test_a_pack_that_stays_as_it_is_is_verified_once(
    manifest: Manifest, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(manifest, PREPARATION, cache=folder)
    prepare(manifest, PREPARATION, cache=folder)
    monkeypatch.setattr(packs.Pack, "intact", lambda *_: 1 / 0)
    prepare(manifest, PREPARATION, cache=folder)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such rights")
def test_nobody_else_may_read_the_cache(
    manifest: Manifest, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    prepare(manifest, PREPARATION, cache=folder)
    (pack,) = files(folder, "*.pack")
    assert (folder.stat().st_mode & 0o777, pack.parent.stat().st_mode & 0o777) == (0o700, 0o700)
    monkeypatch.delenv("HURDLES_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "hurdles").mkdir(mode=0o755)
    assert cache_folder().stat().st_mode & 0o777 == 0o700


def test_a_damaged_row_is_not_copied_into_another_pack(
    manifest: Manifest, folder: Path, decodings: list[str]
) -> None:
    prepare(manifest, PREPARATION, cache=folder)
    (pack,) = files(folder, "*.pack")
    content = bytearray(pack.read_bytes())
    content[content.index(b"\n") + 1 + 3 * SIZE * SIZE] ^= 1  # the first pixel of the fourth image
    pack.write_bytes(content)
    decodings.clear()
    part = manifest_of([Path(p) for p in manifest.frame["path"]][:-1])
    prepared = prepare(part, PREPARATION, cache=folder)
    assert decodings == ["3.png"]
    np.testing.assert_array_equal(prepared.pixels, expected(part))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"0.png": 3}', '{"0.png": [1, 2, 3]}'])
def test_a_damaged_memory_of_hashes_is_ignored(
    manifest: Manifest, folder: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SETTLED_NS", 0)
    prepare(manifest, PREPARATION, cache=folder)
    (memory,) = files(folder, "hashes/*.json")
    memory.write_text(text)
    prepared = prepare(manifest, PREPARATION, cache=folder)
    np.testing.assert_array_equal(prepared.pixels, expected(manifest))
    assert len(whole.read_sealed(memory)) == 12


def test_a_flipped_byte_in_the_memory_of_hashes_makes_no_other_content(
    manifest: Manifest, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SETTLED_NS", 0)
    prepare(manifest, PREPARATION, cache=folder)
    (memory,) = files(folder, "hashes/*.json")
    key = whole.read_sealed(memory)["0.png"][3]
    other = ("1" if key[0] == "0" else "0") + key[1:]
    memory.write_text(memory.read_text().replace(key, other))
    prepare(manifest, PREPARATION, cache=folder)
    assert whole.read_sealed(memory)["0.png"][3] == key


SCRIPT = """
import sys, time
from pathlib import Path
import pandas as pd
import hurdles.pixels.cache as cache, hurdles.pixels.packs as packs
from hurdles.data.manifest import Manifest
from hurdles.pixels.prepare import Preparation

source, folder, mode = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
cache._BATCH_BYTES = 4 * 16 * 16
if mode == "die while writing":
    real = packs.np.lib.format.write_array_header_1_0
    count = 0
    def stall(out, layout):
        global count
        count += 1
        real(out, layout)
        out.flush()
        if count == 3:            # what follows two batches has a beginning and no end
            print("stalled", flush=True)
            time.sleep(60)
    packs.np.lib.format.write_array_header_1_0 = stall
paths = sorted(source.glob("*.png"))
names = [p.name for p in paths]
table = pd.DataFrame({"image": names, "path": [str(p) for p in paths], "label": "x"})
if mode == "race":
    print("ready", flush=True)
    sys.stdin.readline()
done = cache.prepare(Manifest(table), Preparation(size=16), cache=folder)
import hashlib
print(len(done), hashlib.sha256(done.pixels.tobytes()).hexdigest(), flush=True)
"""


def process(manifest: Manifest, folder: Path, mode: str) -> subprocess.Popen[str]:
    source = Path(manifest.frame["path"][0]).parent
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(source), str(folder), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_killed_process_leaves_nothing_half_written(
    manifest: Manifest, folder: Path, decodings: list[str]
) -> None:
    with process(manifest, folder, "die while writing") as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "stalled\n"
        child.send_signal(signal.SIGKILL)
        assert child.wait(10) == -signal.SIGKILL
    assert files(folder, "*.pack") == []
    assert [len(files(folder, p)) for p in ("*.batch", ".*.part")] == [2, 1]
    prepared = prepare(manifest, PREPARATION, cache=folder)
    assert len(decodings) == 4  # the eight of two whole batches are kept
    np.testing.assert_array_equal(prepared.pixels, expected(manifest))
    assert files(folder, "*.batch") == []


def test_what_a_killed_writer_left_is_swept_away_after_a_day(
    manifest: Manifest, folder: Path
) -> None:
    prepare(manifest, PREPARATION, cache=folder)
    (pack,) = files(folder, "*.pack")
    young, old = pack.parent / ".a.pack.1-2.part", pack.parent / ".b.pack.1-2.part"
    for part in (young, old):
        part.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * whole._STALE_S,) * 2)
    prepare(manifest, PREPARATION, cache=folder)
    assert (young.exists(), old.exists()) == (True, False)


def test_two_processes_share_a_cache(manifest: Manifest, folder: Path) -> None:
    children = [process(manifest, folder, "race") for _ in range(2)]
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        said = {child.communicate(timeout=30)[0] for child in children}
    finally:
        for child in children:
            child.kill()
            child.wait()
    assert len(said) == 1
    assert said.pop().startswith("12 ")
    prepared = prepare(manifest, PREPARATION, cache=folder)
    np.testing.assert_array_equal(prepared.pixels, expected(manifest))


def test_a_batch_that_another_process_removes_is_not_missed(
    manifest: Manifest, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = packs.Packs._write

    def written_and_gone(self: packs.Packs, path: Path, *arguments: Any) -> None:
        real(self, path, *arguments)
        if path.suffix == ".batch":
            path.unlink()

    monkeypatch.setattr(module, "_BATCH_BYTES", 5 * SIZE * SIZE)
    monkeypatch.setattr(packs.Packs, "_write", written_and_gone)
    prepared = prepare(manifest, PREPARATION, cache=folder)
    np.testing.assert_array_equal(prepared.pixels, expected(manifest))


def test_a_cache_that_cannot_be_written_is_named(manifest: Manifest, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(CacheError, match=r"cannot be written .*file.*set HURDLES_CACHE"):
        prepare(manifest, PREPARATION, cache=blocked)


def test_a_full_disk_is_named(
    manifest: Manifest, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", full)
    with pytest.raises(CacheError, match="No space left on device"):
        prepare(manifest, PREPARATION, cache=folder)
    assert files(folder, "*.pack") == files(folder, ".*.part") == []


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HURDLES_CACHE", str(tmp_path / "mine"))
    assert default_cache() == tmp_path / "mine"
    monkeypatch.delenv("HURDLES_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "hurdles"


@pytest.mark.realdata
def test_a_real_collection_is_read_whole(tmp_path: Path) -> None:
    root = os.environ.get("HURDLES_DATA")
    if not root or not (Path(root) / "Lung Segmentation" / "CXR_jpg").is_dir():
        pytest.skip("HURDLES_DATA does not name a folder with 'Lung Segmentation'")
    manifest = manifest_of(sorted((Path(root) / "Lung Segmentation" / "CXR_jpg").iterdir()))
    prepared = prepare(manifest, Preparation(), cache=tmp_path)
    assert len(prepared) == len(manifest) == 704
    assert 30 < prepared.pixels.mean() < 225
