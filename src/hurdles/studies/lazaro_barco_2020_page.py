"""The page of the study of Lázaro and Barco 2020: every sentence follows from what was measured."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from hurdles.evaluation.bounds import wilson
from hurdles.evaluation.comparisons import Comparison, compare, holm
from hurdles.evaluation.sample_size import (
    detectable_difference,
    interval_width,
    mcnemar_from_totals,
    smallest_significant_lead,
)
from hurdles.studies.study import Done, Profile
from hurdles.training.machine import in_words

#: Row -> right answers in the published table, of 436, 33, 201 and 202 test images.
PUBLISHED: dict[str, tuple[int, int, int, int]] = {
    "baseline": (416, 26, 198, 192),
    "baseline, augmented": (417, 28, 195, 194),
    "inception-like, augmented": (416, 29, 195, 192),
}
_SIZES = (436, 33, 201, 202)

#: Heading -> measure and class, in the order of the published table.
COLUMNS: dict[str, tuple[str, str | None]] = {
    "total": ("accuracy", None),
    "COVID-19": ("sensitivity", "COVID-19"),
    "healthy": ("sensitivity", "Normal"),
    "pneumonia": ("sensitivity", "Viral Pneumonia"),
}
_WAYS = {
    "as coded": "What the published notebook runs: image-level split (seed 42; the COVID-19 images "
    "had been parted by hand, for which a seeded shuffle stands in), the grey image in three "
    "channels, the weights of the last epoch tested, and an inception network of 1x1 kernels, 7x7 "
    "and a dense layer of 128.",
    "as described": "What the text says: the same split, the weights of the best validation "
    "accuracy, and kernels of 1x1, 3x3 and 5x5 in parallel.",
    "done right": "The described networks, one grey channel, with the split made by patient as far "
    "as patients are known. Only the pneumonia images name a patient; every other image counts as "
    "a patient of its own, so a leak between those cannot be excluded.",
}


def page(done: Sequence[Done], profile: Profile) -> str:
    """Return the study's page in Markdown, from whatever is done."""
    parts = [_head(profile), _published()]
    parts += [_way(way, done) for way in _WAYS]
    parts += [_comparisons(done), _seeds(done), _what_33_prove(), _machine(done)]
    return "\n\n".join(p for p in parts if p) + "\n"


def _head(profile: Profile) -> str:
    return (
        f"# Lázaro and Barco 2020, three ways: profile *{profile.name}*\n\n"
        "Research use only; not a medical device. Written by `hurdles study lazaro-barco-2020"
        f"{' --fast' if profile.name == 'fast' else ''} --data radiography-database=PATH`; nothing "
        f"is filled in by hand.\n\n"
        f"Profile *{profile.name}*: {profile.explanation}\n\n"
        "Every number is a share of right answers in percent on test images, with its 95 % "
        "interval by patient. Total is the accuracy; the other columns are the accuracy on the "
        "images of that class, which is its sensitivity. All of them were measured inside one "
        "collection, where class and source coincide (the COVID-19 images are of adults from many "
        "sources, the others of children of one hospital): none of them says how the network does "
        "elsewhere."
    )


def _published() -> str:
    lines = [_header("published")]
    for row, right in PUBLISHED.items():
        cells = [wilson(k, n).percent() for k, n in zip(right, _SIZES, strict=True)]
        lines.append(_line(row, *cells, ""))
    return (
        "## As published\n\nThe intervals are ours (Wilson, from the published shares and the "
        "sizes of the test classes: 33, 201, 202); the paper gives none.\n\n" + "\n".join(lines)
    )


def _way(way: str, done: Sequence[Done]) -> str:
    title = f"## {way.capitalize()}\n\n{_WAYS[way]}\n\n"
    of_way = [d for d in done if d.cell.way == way]
    if not of_way:
        return title + "No cell is done."
    first = of_way[0].evaluation
    sizes = ", ".join(f"{first.images[c]} {c}" for c in first.classes)
    lines = [_header("measured")]
    for row in PUBLISHED:
        seeds = sorted((d for d in of_way if d.cell.row == row), key=lambda d: d.cell.seed)
        lines += [_measured(d) for d in seeds] or [_line(row, *["not done"] * 4, "")]
    return (
        f"{title}Test part: {first.n_images} images ({sizes}) of {first.n_patients} patients"
        + (f", and {first.n_unknown} of these images of nobody known" if first.n_unknown else "")
        + ".\n\n"
        + "\n".join(lines)
    )


def _measured(done: Done) -> str:
    cells = [done.evaluation.get(*which).percent() for which in COLUMNS.values()]
    tested, ran = done.run.chosen_epoch(done.cell.epoch), len(done.run.history)
    return _line(f"{done.cell.row}, seed {done.cell.seed}", *cells, f"{tested} of {ran}")


def _header(what: str) -> str:
    last = "epoch" if what == "measured" else ""
    return _line(what, *COLUMNS, last) + "\n|---|---|---|---|---|---|"


def _line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _comparisons(done: Sequence[Done]) -> str:
    found = []
    for way in _WAYS:
        first = {d.cell.row: d for d in done if d.cell.way == way and d.cell.seed == 0}
        for one, two in itertools.combinations([r for r in PUBLISHED if r in first], 2):
            for comparison in compare(
                first[two].predictions, first[one].predictions, metrics=["accuracy", "sensitivity"]
            ):
                if comparison.class_ in ("", "COVID-19"):
                    found.append((way, f"{two} - {one}", comparison))
    if not found:
        return ""
    adjusted = holm([c.p_value for _, _, c in found])
    lines = [
        "| way | rows, seed 0 | measure | difference, points | p | p, Holm | test |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_compared(*f, p) for f, p in zip(found, adjusted, strict=True)]
    significant = sum(p < 0.05 for p in adjusted)
    return (
        "## Do the rows differ?\n\nPaired, on the same test images of each way; p-values are "
        f"two-sided, and Holm's adjustment is over the {len(found)} comparisons of this table; "
        "intervals and p are of one row alone. "
        f"{significant or 'None'} of them {'is' if significant in (0, 1) else 'are'} below 0.05 "
        "after adjustment.\n\n" + "\n".join(lines)
    )


def _compared(way: str, rows: str, comparison: Comparison, adjusted: float) -> str:
    d = comparison.difference
    measure = "accuracy" if not comparison.class_ else f"accuracy on {comparison.class_}"
    span = (
        f"{100 * d.value:+.1f} [{100 * d.low:+.1f}, {100 * d.high:+.1f}]"
        if d.is_defined
        else str(d)
    )
    return _line(
        way,
        rows,
        measure,
        span,
        f"{comparison.p_value:.3f}",
        f"{adjusted:.3f}",
        comparison.p_method,
    )


def _seeds(done: Sequence[Done]) -> str:
    lines = []
    for way, row in itertools.product(_WAYS, PUBLISHED):
        same = [d.evaluation for d in done if (d.cell.way, d.cell.row) == (way, row)]
        if len(same) > 1:
            spans = [_range([e.get(*which).value for e in same]) for which in COLUMNS.values()]
            lines.append(_line(way, row, str(len(same)), *spans))
    if not lines:
        return ""
    before, after = (PUBLISHED[r][1] for r in ("baseline", "inception-like, augmented"))
    step = 100 * (after - before) / _SIZES[1]
    head = _line("way", "row", "seeds", *COLUMNS) + "\n|---|---|---|---|---|---|---|"
    return (
        "## What a seed is worth\n\nThe same network, data and split, trained from other random "
        "numbers: lowest and highest share of right answers over the seeds, in percent, without "
        "the uncertainty that each of them has. The published step on COVID-19 from the baseline "
        f"to the third row is {step:.1f} points, from one training each.\n\n"
        + "\n".join([head, *lines])
    )


def _range(values: Sequence[float]) -> str:
    return f"{100 * min(values):.1f}-{100 * max(values):.1f}"


def _what_33_prove() -> str:
    n, fewer = _SIZES[1], PUBLISHED["baseline"][1]
    more = PUBLISHED["inception-like, augmented"][1]
    low, high = wilson(fewer, n), wilson(more, n)
    allowed = mcnemar_from_totals(more, fewer, n)
    lead = smallest_significant_lead()
    detectable = detectable_difference(n, discordance=0.3)
    width = interval_width(n, 0.85)
    return (
        f"## What {n} COVID-19 test images can and cannot prove\n\n"
        f"The published step from {100 * fewer / n:.2f} % to {100 * more / n:.2f} % on COVID-19 "
        f"(printed as 78.78 and 87.87) is {more - fewer} images: {fewer} and {more} of {n}, with "
        f"intervals {_span(low.low, low.high)} and {_span(high.low, high.high)}. Whichever images "
        "they were, an exact McNemar test of these two totals gives a p-value between "
        f"{allowed.smallest:.2f} (if the second network lost none of the first one's {fewer} right "
        f"answers) and {allowed.largest:.2f}: the step is within chance, and the order of the two "
        "networks is not established.\n\n"
        f"On {n} images one network must be right on at least {lead} images that the other gets "
        "wrong, and lose none, before such a test gives p < 0.05. If the two disagree on 30 % of "
        f"the images, only a true difference of {100 * detectable:.0f} points or more would be "
        "found with 80 % probability. At a true accuracy of 85 % the 95 % interval is "
        f"{100 * width:.0f} points wide on average. So {n} images can tell a network that finds "
        "most COVID-19 images of this collection from one that guesses; they cannot rank networks "
        "that differ by ten points."
    )


def _span(low: float, high: float) -> str:
    return f"{100 * low:.1f}-{100 * high:.1f} %"


def _machine(done: Sequence[Done]) -> str:
    if not done:
        return ""
    lines = []
    for text in dict.fromkeys(_environment(d) for d in done):
        seconds = sum(
            {d.run.path: d.run.meta["seconds"] for d in done if _environment(d) == text}.values()
        )
        lines.append(f"- {text}; {seconds / 60:.0f} minutes of computing in all.")
    return "## Made with\n\n" + "\n".join(lines)


def _environment(done: Done) -> str:
    return f"{in_words(done.run.meta['environment'])}, tests in float32"
