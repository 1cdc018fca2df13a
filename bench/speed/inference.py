"""Rows of answering new images and of preparing them to the lungs, beside plain torch loops."""

from __future__ import annotations

import atexit
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
from pairs import Goal, Row, Side

SIZE, LABELS = 224, ("COVID-19", "Normal", "Viral Pneumonia")
#: Files that a turn of the rows of folders works on.
FILES = 32


def scratch() -> Path:
    """Return a folder that is removed when this process ends."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return Path(folder.name)


def network_of(architecture: str):
    """Return a network whose batch normalization has the statistics of some images."""
    import torch

    from hurdles.models import ModelSpec, build

    network = build(ModelSpec(architecture, LABELS, size=SIZE), seed=0).train()
    with torch.no_grad():
        for _ in range(4):
            network(torch.rand(8, 1, SIZE, SIZE))
    return network.eval()


def hurdles_engine(architecture: str, batch: int, engine: str) -> Callable[[float], float]:
    """Answer prepared images by an engine that was held against torch before the clock starts."""
    from hurdles.progress import Options
    from hurdles.runs.engines import Engines
    from hurdles.training.prediction import answers_and_features

    network = network_of(architecture)
    pixels = np.random.default_rng(0).integers(0, 256, (batch, SIZE, SIZE), dtype=np.uint8)
    options = Options(cache=scratch())
    chosen = Engines(network, engine, options).chosen(pixels, batch)
    print(f"{architecture}, batch {batch}, {engine}:", *chosen.lines(), file=sys.stderr)

    def turn(seconds: float) -> float:
        return rate(
            lambda: answers_and_features(network, pixels, encode=chosen.encode), batch, seconds
        )

    return turn


def rate(work: Callable[[], object], n: int, seconds: float) -> float:
    """Return how many a second a piece of work that does `n` does."""
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        work()
        done += n
    return done / (time.perf_counter() - began)


def radiographs(n: int = FILES) -> list[Path]:
    """Return as many of Kermany's JPEGs, spread over its folders."""
    files = sorted(Path(os.environ["HURDLES_DATA"], "chest_xray").rglob("*.jpeg"))
    return files[:: max(1, len(files) // n)][:n]


def hurdles_predict(architecture: str, engine: str) -> Callable[[float], float]:
    """Answer files by a finished run: decoded, prepared, refused or answered, as rows."""
    import hurdles
    from hurdles.phantom import write_phantom
    from hurdles.progress import Options

    place = scratch()
    options = Options(cache=place / "cache")
    write_phantom(place / "phantom", 60, size=256)
    settings = {
        "model.architecture": architecture,
        "training.epochs": 1,
        "evaluation.resamples": 100,
    }
    run = hurdles.run(
        "small-data",
        data=place / "phantom" / "manifest.csv",
        out=place / "run",
        settings=settings,
        options=options,
    )
    model = hurdles.load(run, engine=engine, options=options)
    files = [str(file) for file in radiographs()]
    print(*model.predict(files).about["notes"], sep="\n", file=sys.stderr)

    def turn(seconds: float) -> float:
        return rate(lambda: model.predict(files), len(files), seconds)

    return turn


def hurdles_lungs() -> Callable[[float], float]:
    """Prepare files, cropped to the lungs and equalized, into an empty cache."""
    from hurdles.data.unlabeled import manifest_of_images
    from hurdles.lungs.find import shipped_lungs
    from hurdles.pixels.cache import prepare
    from hurdles.pixels.prepare import Preparation

    manifest = manifest_of_images([str(file) for file in radiographs()])
    preparation = Preparation(SIZE, "equalized+cropped", shipped_lungs())
    place, names = scratch(), count()

    def turn(seconds: float) -> float:
        def work() -> None:
            prepare(manifest, preparation, cache=place / f"{next(names)}")

        return rate(work, len(manifest), seconds)

    return turn


def lungs_profile() -> Callable[[float], list[str]]:
    """Return where the time of one image goes, in processor milliseconds, one thread."""
    import torch

    from hurdles.lungs.find import SIZE as SQUARE
    from hurdles.lungs.find import Segmenter
    from hurdles.lungs.mask import clean
    from hurdles.pixels.decode import decode
    from hurdles.pixels.prepare import as_bytes, equalize, resize_square, stretched

    torch.set_num_threads(1)
    files, segmenter = radiographs(), Segmenter()
    images = [decode(file) for file in files]
    squares = [resize_square(image, SQUARE) for image in images]
    found = segmenter.probabilities(squares)
    masks = [clean(each).mask for each in found]

    def parts() -> Iterator[tuple[str, Callable[[], object]]]:
        yield "decode", lambda: [decode(file) for file in files]
        yield "shrink", lambda: [resize_square(image, SQUARE) for image in images]
        yield "network", lambda: [segmenter.probabilities([each]) for each in squares]
        yield "clean and judge", lambda: [clean(each) for each in found]
        yield (
            "stretch the mask",
            lambda: [
                stretched(mask, image.shape) for mask, image in zip(masks, images, strict=True)
            ],
        )
        yield "equalize", lambda: [equalize(image) for image in images]
        yield "resize", lambda: [as_bytes(image, SIZE) for image in images]

    def turn(_: float) -> list[str]:
        lines = []
        for name, work in parts():
            before = time.process_time()
            work()
            spent = 1000 * (time.process_time() - before) / len(files)
            lines.append(f"{name:20}{spent:8.1f} processor ms an image")
        return lines

    return turn


def engines_profile() -> Callable[[float], list[str]]:
    """Return how fast each engine that is installed here answers both networks."""
    from hurdles.progress import Options
    from hurdles.runs.engines import FASTEST, Engines

    cache = scratch()

    def turn(_: float) -> list[str]:
        lines = []
        for architecture in ("resnet-18", "densenet-121"):
            network = network_of(architecture)
            for batch in (1, 32):
                pixels = np.zeros((batch, SIZE, SIZE), dtype=np.uint8)
                engines = Engines(network, FASTEST, Options(cache=cache))
                for name, took in engines.times(pixels).items():
                    rate = took.get("images_per_s")
                    words = took.get("error") if rate is None else f"{rate:.0f} images/s"
                    lines.append(f"{architecture:14}batch {batch:<4}{name:20}{words}")
        return lines

    return turn


def _engine_row(architecture: str, title: str, batch: int) -> Row:
    here = {"architecture": architecture, "batch": batch}
    return Row(
        name=f"inference-{architecture}-{batch}",
        what=f"inference, {title}, batch {batch}, `--engine fastest` (bfloat16 where it is)",
        unit="images/s",
        sides=(
            Side(
                "hurdles, fastest",
                "inference:hurdles_engine",
                {**here, "engine": "fastest"},
            ),
            Side("torch, eager fp32", "plain_inference:network", here),
            Side("hurdles, openvino", "inference:hurdles_engine", {**here, "engine": "openvino"}),
        ),
        goals=(Goal(3.0, over="torch, eager fp32"),),
        seconds=3.0,
        profile="inference:engines_profile",
        note="The fastest engine installed is timed once and held against torch in float32 on the "
        "first images: no probability may differ by more than 0.01. `openvino` computes in "
        "float32, within 1e-4. Not in these numbers: that torch answers where the difference could "
        "change the class, which depends on network and images.",
    )


ROWS = (
    *(
        _engine_row(architecture, title, batch)
        for architecture, title in (("resnet-18", "ResNet-18"), ("densenet-121", "DenseNet-121"))
        for batch in (1, 32)
    ),
    Row(
        name="predict-files",
        what="`predict --engine fastest`, ResNet-18, JPEGs of Kermany et al. to rows of answers",
        unit="images/s",
        sides=(
            Side(
                "hurdles, fastest",
                "inference:hurdles_predict",
                {"architecture": "resnet-18", "engine": "fastest"},
            ),
            Side("Pillow and torch, one by one", "plain_inference:files"),
        ),
        goals=(Goal(3.0, over="Pillow and torch, one by one"),),
        needs="chest_xray",
        note="With prediction sets, calibration, and refusal by distance to the images of "
        "training; the peer has probabilities only.",
    ),
    Row(
        name="lungs",
        what="lungs, equalized and cropped, from JPEGs of Kermany et al. as they lie here",
        unit="images/s",
        sides=(
            Side("hurdles", "inference:hurdles_lungs"),
            Side("U-Net of 2015, one by one", "plain_lungs:files", {"network": "unet"}),
            Side("our U-Net, one by one", "plain_lungs:files", {"network": "hurdles"}),
        ),
        goals=(Goal(3.0, over="U-Net of 2015, one by one"),),
        profile="inference:lungs_profile",
        needs="chest_xray",
        note="Both peers are plain loops: Pillow, equalization by numpy, an eager network in "
        "float32, a crop, a resize; the second has our own small network, so that the ratio over "
        "it is that of the loop alone.",
    ),
)
