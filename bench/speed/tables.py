"""Large tables: manifests of a million rows, and near-duplicates among as many hashes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pairs import Goal, Row, Side

Turn = Callable[[float], float]

_FOLDER = Path(tempfile.gettempdir()) / "hurdles-bench"

# --- manifests -----------------------------------------------------------------------------------


def manifest_file(images: int, patients: int, classes: int) -> Path:
    """Return a table of images that are nowhere, made unless it is there."""
    import pandas as pd

    path = _FOLDER / f"manifest-{images}-{patients}-{classes}.csv"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    patient = rng.integers(0, patients, images)
    usual = rng.integers(0, classes, patients)[patient]
    kind = np.where(rng.random(images) < 0.8, usual, rng.integers(0, classes, images))
    number = pd.Series(np.arange(images)).map("{:07d}.png".format)
    table = pd.DataFrame(
        {
            "image": number,
            "path": "/data/" + pd.Series(patient % 997).map("{:03d}/".format) + number,
            "label": np.array([f"class {k:03d}" for k in range(classes)])[kind],
            "patient": pd.Series(patient).map("{:07d}".format),
            "source": np.array(["A", "B", "C"])[patient % 3],
            "view": np.array(["PA", "AP", None], dtype=object)[rng.integers(0, 3, images)],
            "sex": np.array(["F", "M", None], dtype=object)[patient % 3],
            "age": np.where(rng.random(images) < 0.1, np.nan, patient % 97),
        }
    )
    part = path.with_suffix(".part")
    table.to_csv(part, index=False)
    part.replace(path)
    return path


def load_and_split(images: int, patients: int, classes: int) -> Turn:
    """Load, validate and split a manifest by patient: seconds."""
    import subprocess
    import sys

    from hurdles.data.manifest import Manifest
    from hurdles.data.split import split

    # In a process of its own, whose memory is not counted.
    made = f"import tables; tables.manifest_file({images}, {patients}, {classes})"
    subprocess.run([sys.executable, "-c", made], check=True)
    path = manifest_file(images, patients, classes)

    def turn(_: float) -> float:
        began = time.perf_counter()
        split(Manifest.load(path), seed=0)
        return time.perf_counter() - began

    return turn


def pandas_load_and_split(images: int, patients: int, classes: int) -> Turn:
    from pandas_tables import seconds

    return seconds(str(manifest_file(images, patients, classes)))


def profile_of_manifest() -> Callable[[float], list[str]]:
    def lines(_: float) -> list[str]:
        from hurdles.data.manifest import Manifest
        from hurdles.data.split import split

        path = manifest_file(1_000_000, 300_000, 14)
        said = []
        began = time.perf_counter()
        manifest = Manifest.load(path)
        said.append(f"{time.perf_counter() - began:8.2f} s  loaded and validated")
        began = time.perf_counter()
        split(manifest, seed=0)
        said.append(f"{time.perf_counter() - began:8.2f} s  split, and the split checked")
        return said

    return lines


# --- near-duplicates -----------------------------------------------------------------------------


def crowded_hashes(rows: np.ndarray, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw hashes that crowd as real ones do, the last of them copies at all distances.

    `rows` are small prints of real images, whose mean and covariance the drawn ones have. The
    second array says in how many bits each of the first ``n // 50`` hashes differs from its copy,
    the last ones in the same order.
    """
    from hurdles.copies import similarity

    rng = np.random.default_rng(seed)
    mean = rows.mean(axis=0)
    root = np.linalg.cholesky(np.cov(rows.T) + 1e-9 * np.eye(256)).astype(np.float32)

    def drawn(count: int, middle: np.ndarray) -> np.ndarray:
        some = rng.standard_normal((count, 256), dtype=np.float32) @ root.T
        return (some + middle).astype(np.float32)

    copies, hashes, first = n // 50, [], None
    for start in range(0, n - copies, 50_000):
        some = drawn(min(50_000, n - copies - start), mean)
        first = some[:copies].copy() if first is None else first
        hashes.append(similarity._signs(some))
    assert first is not None
    strength = rng.uniform(0, 0.7, (copies, 1)).astype(np.float32)
    planted = first + strength * drawn(copies, 0 * mean)
    planted[::3] *= -1  # inverted
    hashes.append(similarity._signs(planted))
    made = np.concatenate(hashes)
    apart = np.bitwise_count(made[:copies] ^ made[-copies:]).sum(axis=1, dtype=np.int64)
    return made, np.minimum(apart, similarity.BITS - apart)


def collections() -> Any:
    """Return all images of the public collections that are there, prepared to 64 px, as one set."""
    import os
    from types import SimpleNamespace

    import pandas as pd

    from hurdles.data.sources import COLLECTIONS
    from hurdles.pixels.cache import prepare
    from hurdles.pixels.prepare import Preparation

    frames, pixels = [], []
    for root in sorted(Path(os.environ["HURDLES_DATA"]).iterdir()):
        for name in COLLECTIONS.names():
            if root.is_dir() and COLLECTIONS.get(name).recognizes(root):
                manifest = COLLECTIONS.get(name).read(root)
                own = prepare(manifest, Preparation(64), cache=_FOLDER / "cache")
                frames.append(own.manifest.frame.assign(image=name + own.manifest.frame["image"]))
                pixels.append(own.pixels)
                break
    frame = pd.concat(frames, ignore_index=True)
    return SimpleNamespace(manifest=SimpleNamespace(frame=frame), pixels=np.concatenate(pixels))


def hashes_matched(n: int) -> Turn:
    """Find all near pairs among n hashes: seconds."""
    import subprocess
    import sys

    from hurdles.copies.similarity import near_pairs

    path = _FOLDER / f"hashes-{n}.npy"
    if not path.exists():  # made in a process of its own, whose memory is not counted
        made = f"import tables; tables.write_hashes({n}, {str(path)!r})"
        subprocess.run([sys.executable, "-c", made], check=True)
    hashes = np.load(path)

    def turn(_: float) -> float:
        began = time.perf_counter()
        near_pairs(hashes)
        return time.perf_counter() - began

    return turn


def write_hashes(n: int, path: str) -> None:
    from hurdles.copies.similarity import prints, small_prints

    rows = small_prints(prints(collections().pixels[::4]))
    np.save(path, crowded_hashes(rows, n, seed=0)[0])


def images_matched() -> Turn:
    """Find all copies among the images of all collections, prepared before: seconds."""
    from hurdles.copies.finder import matches

    images = collections()

    def turn(_: float) -> float:
        began = time.perf_counter()
        matches(images)
        return time.perf_counter() - began

    return turn


def profile_of_images() -> Callable[[float], list[str]]:
    from hurdles.copies import finder

    images = collections()

    def lines(_: float) -> list[str]:
        said = [f"{len(images.pixels):,} images; seconds, and seconds of processor time"]

        def timed(what: str, work: Callable[[], Any]) -> Any:
            wall, cpu = time.perf_counter(), time.process_time()
            done = work()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            said.append(f"{wall:8.1f}{cpu:8.1f}  {what}")
            return done

        timed("small prints, seven of each image", lambda: finder._views(images.pixels))
        likely = timed("likely pairs, with these prints", lambda: finder._likely(
            images.pixels, None, True, None))  # fmt: skip
        timed(f"all of it: {len(likely):,} likely pairs aligned", lambda: finder.matches(images))
        return said

    return lines


def _sizes(*sizes: tuple[int, int, int]) -> Iterable[Row]:
    for images, patients, classes in sizes:
        options = {"images": images, "patients": patients, "classes": classes}
        is_largest = (images, patients, classes) == (1_000_000, 300_000, 14)
        yield Row(
            f"manifest-{images}-{patients}-{classes}",
            f"a manifest of {images:,} images, {patients:,} patients, {classes} classes: loaded, "
            "validated, split",
            "s",
            (
                Side("hurdles", "tables:load_and_split", options),
                Side("pandas, scikit-learn", "tables:pandas_load_and_split", options),
            ),
            (Goal(10), Goal(1024, of="peak_mib")) if is_largest else (),
            better="lower",
            turns=3,
            profile="tables:profile_of_manifest",
            note="The peer reads the table, looks for empty cells and splits by patient, without "
            "regard to classes."
            if is_largest
            else "",
        )


ROWS = (
    *_sizes(
        (1_000_000, 300_000, 14),
        (100_000, 30_000, 14),
        (300_000, 90_000, 14),
        (1_000_000, 30_000, 14),
        (1_000_000, 1_000_000, 14),
        (1_000_000, 300_000, 2),
        (1_000_000, 300_000, 100),
    ),
    Row(
        "copies-11000",
        "copies among the images of all public collections here, some 11,000",
        "s",
        (Side("hurdles", "tables:images_matched"),),
        (Goal(10),),
        better="lower",
        turns=3,
        profile="tables:profile_of_images",
        needs="chest_xray",
    ),
    *(
        Row(
            f"hashes-{n}",
            f"near pairs among {n:,} hashes",
            "s",
            (Side("hurdles", "tables:hashes_matched", {"n": n}),),
            (Goal(60), Goal(2048, of="peak_mib")) if n == 1_000_000 else (),
            better="lower",
            turns=3,
            needs="chest_xray",
        )
        for n in (1_000_000, 250_000, 500_000)
    ),
)
