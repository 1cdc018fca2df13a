"""Images prepared, the first time and again, and put through the hurdles for data."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pairs import Goal, Row, Side

Turn = Callable[[float], float]

_DATA = Path(os.environ.get("HURDLES_DATA", ""))
#: Radiographs of 224 px, and the same enlarged, with grain, as JPEG.
SMALL = _DATA / "chest_xray" / "test"
LARGE = Path(tempfile.gettempdir()) / "hurdles-bench" / "1400px"
N_LARGE, SIDE = 48, 1400


def first_time(folder: str) -> Turn:
    """Prepare every image of a folder into an empty cache: images per second."""
    from hurdles.data.reading import read_manifest
    from hurdles.pixels.cache import prepare
    from hurdles.pixels.prepare import Preparation

    manifest, cache = read_manifest(folder), _scratch()

    def turn(_: float) -> float:
        shutil.rmtree(cache, ignore_errors=True)
        began = time.perf_counter()
        prepared = prepare(manifest, Preparation(224), cache=cache)
        return len(prepared) / (time.perf_counter() - began)

    turn(0)
    return turn


def again() -> Turn:
    """Find all 5,856 images in the cache, checksums included, and read them: images per second."""
    from hurdles.data.reading import read_manifest
    from hurdles.pixels import packs
    from hurdles.pixels.cache import prepare
    from hurdles.pixels.prepare import Preparation

    manifest, cache = read_manifest(_DATA / "chest_xray"), _scratch()

    def turn(_: float) -> float:
        packs._VERIFIED.clear()  # as in a new process
        began = time.perf_counter()
        prepared = prepare(manifest, Preparation(224), cache=cache)
        prepared.pixels.max()
        return len(prepared) / (time.perf_counter() - began)

    time.sleep(3)  # a file that was changed a moment ago is hashed again
    turn(0)
    return turn


def read_with_numpy() -> Turn:
    """Read as many prepared pixels from a file of NumPy, unchecked, each once."""
    import numpy as np

    path = _scratch() / "pixels.npy"
    path.parent.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (5856, 224, 224), dtype=np.uint8)
    np.save(path, pixels)

    def turn(_: float) -> float:
        began = time.perf_counter()
        np.load(path, mmap_mode="r").max()
        return len(pixels) / (time.perf_counter() - began)

    return turn


def large_first_time() -> Turn:
    make_large()
    return first_time(str(LARGE))


def large_by_pillow() -> Turn:
    import pillow_loop

    make_large()
    return pillow_loop.images_per_second(str(LARGE))


def make_large() -> None:
    """Make JPEGs of 1,400 px in two class folders, unless they are there."""
    import cv2
    import numpy as np

    if len(list(LARGE.rglob("*.jpeg"))) == N_LARGE:
        return
    rng = np.random.default_rng(0)
    for n, path in enumerate(sorted(SMALL.rglob("*.jpeg"))[::13][:N_LARGE]):
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        big = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        grain = np.clip(big + rng.normal(0, 3, big.shape), 0, 255).astype(np.uint8)
        coded = cv2.imencode(".jpeg", grain, [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
        folder = LARGE / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{n}.jpeg").write_bytes(coded)


def checked() -> Turn:
    """Put 2,905 images, all in the cache, through the hurdles for data: seconds."""
    import hurdles
    from hurdles.progress import Options

    options = Options(cache=_shared_cache())
    hurdles.check("radiography-database", hurdles=["size"], options=options)

    def turn(_: float) -> float:
        began = time.perf_counter()
        hurdles.check("radiography-database", options=options)
        return time.perf_counter() - began

    return turn


# --- profiles ------------------------------------------------------------------------------------


def profile_small() -> Callable[[float], list[str]]:
    return lambda _: _stages(sorted(SMALL.rglob("*.jpeg")))


def profile_large() -> Callable[[float], list[str]]:
    make_large()

    def lines(_: float) -> list[str]:
        paths = sorted(LARGE.rglob("*.jpeg"))
        return [*_stages(paths), *_scaled_decoding(paths)]

    return lines


def _stages(paths: list[Path]) -> list[str]:
    import pillow_loop
    import simplejpeg

    from hurdles.data.files import file_hash
    from hurdles.pixels.decode import decode_levels
    from hurdles.pixels.prepare import Preparation
    from hurdles.pixels.raster import unit

    contents = [path.read_bytes() for path in paths]
    prepare = Preparation(224)

    def prepared(i: int) -> object:
        levels = decode_levels(paths[i])
        return levels if prepare.leaves(levels) else prepare(unit(levels))

    libjpeg, peer = "libjpeg alone, gray", "the peer: open, gray, resize, all by Pillow"
    stages = {
        "hash of the file": lambda i: file_hash(paths[i]),
        libjpeg: lambda i: simplejpeg.decode_jpeg(contents[i], "GRAY"),
        "decode: read, header, libjpeg, checks": lambda i: decode_levels(paths[i]),
        "decode and prepare": prepared,
        peer: lambda i: pillow_loop.read(str(paths[i])),
    }
    spent = dict.fromkeys(stages, float("inf"))
    for _ in range(3):  # the least of three: other work on the host only adds
        for what, work in stages.items():
            began = time.process_time()
            for i in range(len(paths)):
                work(i)
            spent[what] = min(spent[what], 1e3 * (time.process_time() - began) / len(paths))
    return [
        "milliseconds of processor time an image, one thread",
        *(f"{milliseconds:8.3f}  {what}" for what, milliseconds in spent.items()),
        f"libjpeg alone, and nothing else, would be {spent[peer] / spent[libjpeg]:.2f} times as "
        "fast as the peer: no full decoding passes that",
    ]


def _scaled_decoding(paths: list[Path]) -> list[str]:
    """Compare libjpeg's scaled decoding with the full one: what it would save, and change."""
    import numpy as np
    import simplejpeg

    from hurdles.pixels.prepare import as_bytes, band_energies

    lines = ["scaled decoding, then the same resize, beside full decoding (not used)"]
    for least in (224, 448, 700):
        spent, apart, fine = 0.0, [], []
        for path in paths:
            content = path.read_bytes()
            full = simplejpeg.decode_jpeg(content, "GRAY")[..., 0] / np.float32(255)
            began = time.process_time()
            scaled = simplejpeg.decode_jpeg(
                content, "GRAY", min_height=least, min_width=least, min_factor=1
            )[..., 0]
            spent += time.process_time() - began
            scaled = scaled / np.float32(255)
            one, two = as_bytes(full, 224).astype(int), as_bytes(scaled, 224).astype(int)
            apart.append(np.abs(one - two))
            first, second = (
                band_energies(one / np.float32(255)),
                band_energies(two / np.float32(255)),
            )
            fine.append(second[min(second)] / first[min(first)])
        decibels = 10 * np.log10(255**2 / np.mean(np.square(apart)))
        lines.append(
            f"{1e3 * spent / len(paths):8.3f}  libjpeg to {scaled.shape[0]} px: gray levels differ "
            f"by {np.mean(apart):.2f} on average, {np.max(apart)} at most ({decibels:.1f} dB); "
            f"energy of the finest band {np.mean(fine):.3f} of what it was"
        )
    return lines


def profile_check() -> Callable[[float], list[str]]:
    from hurdles.auditing.data import DATA_HURDLES
    from hurdles.auditing.loading import material_of
    from hurdles.data.reading import read_manifest
    from hurdles.progress import Options

    def lines(_: float) -> list[str]:
        said = ["seconds, and seconds of processor time, by hurdle"]

        def timed(what: str, work: Callable[[], object]) -> object:
            wall, cpu = time.perf_counter(), time.process_time()
            done = work()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            said.append(f"{wall:8.1f}{cpu:8.1f}  {what}")
            return done

        options = Options(cache=_shared_cache())
        material = timed(
            "images, found in the cache",
            lambda: material_of(
                read_manifest(_DATA / "COVID-19 Radiography Database"), name="x", options=options
            ),
        )
        for name in DATA_HURDLES:
            timed(name, lambda: list(DATA_HURDLES.get(name).run(material)))  # noqa: B023 - at once
        return said

    return lines


def _shared_cache() -> Path:
    return Path(tempfile.gettempdir()) / "hurdles-bench" / "cache"


def _scratch() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="hurdles-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder / "cache"


ROWS = (
    Row(
        "prepare-224",
        "prepare JPEGs of 224 px the first time",
        "images/s",
        (
            Side("hurdles", "preparing:first_time", {"folder": str(SMALL)}),
            Side("Pillow", "pillow_loop:images_per_second", {"folder": str(SMALL)}),
        ),
        (Goal(1.3, over="Pillow"),),
        turns=9,
        profile="preparing:profile_small",
        needs="chest_xray",
        note="Each side uses every core: threads here, a process a core there. Pillow only reads; "
        "ours also hashes each file, holds it against damage, and writes the cache.",
    ),
    Row(
        "prepare-1400",
        "prepare JPEGs of 1,400 px the first time",
        "images/s",
        (
            Side("hurdles", "preparing:large_first_time"),
            Side("Pillow", "preparing:large_by_pillow"),
        ),
        (Goal(4, over="Pillow"),),
        turns=7,
        profile="preparing:profile_large",
        needs="chest_xray",
        note="JPEGs are decoded in full, and libjpeg alone takes about three fifths of the time of "
        "either side: no full decoding is more than some 1.6 times as fast as the peer (see the "
        "profile). Scaled decoding would make every JPEG softer than the same radiograph from a "
        "PNG or DICOM file, so that a network could read the format from the texture; nor could "
        "it reach the goal, since it saves libjpeg but a tenth: the rest is entropy decoding.",
    ),
    Row(
        "prepare-again",
        "find 5,856 prepared images of 224 px again, checksums included, and read them",
        "images/s",
        (
            Side("hurdles", "preparing:again"),
            Side("NumPy, unchecked", "preparing:read_with_numpy"),
        ),
        turns=5,
        needs="chest_xray",
        note="Every file's size and dates are asked for, and every row's checksum computed: CRC-32 "
        "of zlib takes half of the processor time. The peer checks nothing.",
    ),
    Row(
        "check",
        "`check` of 2,905 images in the cache",
        "s",
        (Side("hurdles", "preparing:checked"),),
        (Goal(30),),
        better="lower",
        turns=3,
        profile="preparing:profile_check",
        needs="COVID-19 Radiography Database",
    ),
)
