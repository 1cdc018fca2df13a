"""Evaluations and comparisons with all their intervals: large ones, and beside a bootstrap."""

from __future__ import annotations

import contextlib
import cProfile
import io
import pstats
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pairs import Goal, Row, Side

if TYPE_CHECKING:
    from hurdles.evaluation.predictions import Predictions

#: Images, patients and classes of a large evaluation.
LARGE = {"images": 100_000, "patients": 30_000, "classes": 14}
#: The same for peers that draw every resample row by row.
SMALL = {"images": 2_000, "patients": 600, "classes": 3}


def answers(images: int, patients: int, classes: int, model: int = 1) -> pd.DataFrame:
    """Return made-up answers of a model: image, patient, label, and ``p:`` of every class.

    Patients have several images each that are alike; every class is rarer than the one before.
    """
    rng = np.random.default_rng(0)
    who, weights = rng.integers(0, patients, images), 1 / np.arange(1, classes + 1)
    label = rng.choice(classes, images, p=weights / weights.sum())
    rng = np.random.default_rng([0, model])
    scores = rng.normal(size=(images, classes)) + rng.normal(size=(patients, classes))[who] / 2
    scores[np.arange(images), label] += 2
    p = np.exp(scores)
    names = [f"finding {c:02d}" for c in range(classes)]
    frame = pd.DataFrame(
        {
            "image": [f"{i:07d}.png" for i in range(images)],
            "patient": [f"p{i:06d}" for i in who],
            "label": [names[c] for c in label],
        }
    )
    columns = {
        f"p:{name}": column for name, column in zip(names, (p.T / p.sum(1)).round(6), strict=True)
    }
    return frame.assign(**columns)


def predictions(model: int = 1, **size: int) -> Predictions:
    from hurdles.evaluation.predictions import Predictions

    frame = answers(**size, model=model)
    prob = frame.filter(regex="^p:")
    return Predictions.from_arrays(
        [c[2:] for c in prob],
        y_true=frame["label"].tolist(),
        y_prob=prob.to_numpy(),
        images=frame["image"].tolist(),
        groups=frame["patient"].tolist(),
    )


def evaluation(**size: int) -> Callable[[float], float]:
    """Measure everything, the macro AUC too."""
    table = predictions(**size)
    return lambda _: _seconds(_evaluate, table)


def comparison(**size: int) -> Callable[[float], float]:
    """Compare two models measure by measure, with 2,000 paired resamples."""
    from hurdles.evaluation.comparisons import compare

    one, two = predictions(**size), predictions(**size, model=2)
    return lambda _: _seconds(compare, one, two)


def scores(images: int) -> pd.DataFrame:
    """Return a truth of 0 and 1 and the scores of two models, for images of as many patients."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, images)
    return pd.DataFrame({"truth": truth, **{m: truth + rng.normal(size=images) for m in "ab"}})


def areas(images: int) -> Callable[[float], float]:
    """Compare two areas by DeLong's test, each with its interval."""
    from hurdles.evaluation.delong import AUC, auc_bounds, compare_aucs

    table = scores(images)
    names = np.arange(images)

    def compared() -> None:
        one, two = (AUC.of(table["truth"], table[m], positive=1, groups=names) for m in ("a", "b"))
        auc_bounds(one), auc_bounds(two)
        compare_aucs(one, two)

    return lambda _: _seconds(compared)


def command(verb: str, tables: int, **size: int) -> Callable[[float], float]:
    """Give a command tables to read: a process of its own each time, from its start to its end."""
    folder = tempfile.TemporaryDirectory()
    paths = []
    for model in range(tables):
        paths.append(str(Path(folder.name, f"{model}.csv")))
        answers(**size, model=model).to_csv(paths[-1], index=False)
    words = [verb, *(["--predictions"] if tables == 1 else []), *paths]
    program = [sys.executable, "-c", "from hurdles.cli import main; main()"]

    def turn(_: float) -> float:
        assert Path(folder.name).is_dir()  # it stays for as long as this function does
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return _seconds(subprocess.run, [*program, *words], check=True, **quiet)

    return turn


def profile() -> Callable[[float], list[str]]:
    """Return where the time of a large evaluation goes, and of a comparison."""
    from hurdles.evaluation.comparisons import compare

    one, two = predictions(**LARGE), predictions(**LARGE, model=2)

    def turn(_: float) -> list[str]:
        return [*_profiled(_evaluate, one), "", *_profiled(compare, one, two)]

    return turn


def _evaluate(table: Predictions) -> None:
    from hurdles.evaluation.evaluation import evaluate
    from hurdles.evaluation.macro import macro_auc

    evaluate(table)
    macro_auc(table)


def _seconds(function: Callable[..., object], *given: object, **named: object) -> float:
    began = time.perf_counter()
    function(*given, **named)
    return time.perf_counter() - began


def _profiled(function: Callable[..., object], *given: object) -> Iterator[str]:
    watch, text = cProfile.Profile(time.process_time), io.StringIO()
    with contextlib.redirect_stdout(sys.stderr):
        watch.runcall(function, *given)
    pstats.Stats(watch, stream=text).strip_dirs().sort_stats("tottime").print_stats(8)
    return (line.rstrip() for line in text.getvalue().splitlines() if line.strip())


def _growth(what: str, **sizes: tuple[int, ...]) -> tuple[Side, ...]:
    """Return a large evaluation, and two of which one size is smaller."""
    (name, values), *_ = sizes.items()
    return tuple(Side(f"{v:,} {name}", "evaluating:" + what, {**LARGE, name: v}) for v in values)


_OF = "100,000 images of 30,000 patients, 14 classes"

ROWS = (
    Row(
        "evaluate",
        f"an evaluation with all intervals and the macro AUC: {_OF}",
        "s",
        (Side("hurdles", "evaluating:evaluation", LARGE),),
        (Goal(5), Goal(1024, of="peak_mib")),
        better="lower",
        profile="evaluating:profile",
    ),
    Row(
        "evaluate-command",
        f"`hurdles evaluate --predictions`, reading the CSV too: {_OF}",
        "s",
        (Side("hurdles", "evaluating:command", {"verb": "evaluate", "tables": 1, **LARGE}),),
        (Goal(5), Goal(1024, of="peak_mib")),
        better="lower",
        turns=3,
        profile="evaluating:profile",
    ),
    Row(
        "compare",
        f"two models compared, 2,000 resamples: {_OF}",
        "s",
        (Side("hurdles", "evaluating:comparison", LARGE),),
        (Goal(20), Goal(1024, of="peak_mib")),
        better="lower",
        turns=3,
        profile="evaluating:profile",
    ),
    Row(
        "compare-command",
        f"`hurdles compare`, reading both CSVs too: {_OF}",
        "s",
        (Side("hurdles", "evaluating:command", {"verb": "compare", "tables": 2, **LARGE}),),
        (Goal(20), Goal(1024, of="peak_mib")),
        better="lower",
        turns=3,
        profile="evaluating:profile",
    ),
    Row(
        "evaluate-images",
        "growth of an evaluation with images (30,000 patients, 14 classes)",
        "s",
        _growth("evaluation", images=(100_000, 50_000, 25_000)),
        better="lower",
        turns=3,
    ),
    Row(
        "evaluate-patients",
        "growth of an evaluation with patients (100,000 images, 14 classes)",
        "s",
        _growth("evaluation", patients=(30_000, 10_000, 3_000)),
        better="lower",
        turns=3,
    ),
    Row(
        "evaluate-classes",
        "growth of an evaluation with classes (100,000 images, 30,000 patients)",
        "s",
        _growth("evaluation", classes=(14, 7, 3)),
        better="lower",
        turns=3,
    ),
    Row(
        "evaluate-bootstrap",
        "an evaluation of 2,000 images of 600 patients, 3 classes, all intervals",
        "s",
        (
            Side("hurdles", "evaluating:evaluation", SMALL),
            Side("scikit-learn", "bootstrap_sklearn:measured", SMALL),
        ),
        (Goal(10, over="scikit-learn"),),
        better="lower",
        turns=3,
        note="scikit-learn: every measure of 1,000 resamples of patients, as its users write it.",
    ),
    Row(
        "compare-proc",
        "AUCs of two models compared by DeLong's test, 20,000 images of as many patients",
        "s",
        (
            Side("hurdles", "evaluating:areas", {"images": 20_000}),
            Side("pROC", "delong_proc:tested", {"images": 20_000}),
        ),
        (Goal(1, over="pROC"),),
        better="lower",
        turns=3,
        needs="Rscript",
    ),
)
