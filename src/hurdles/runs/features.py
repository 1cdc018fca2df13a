"""Features of images by a run's network: laid out, probed for the source, and used to reject."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.data.files import replacing, write_bytes, write_text
from hurdles.data.manifest import Manifest
from hurdles.data.untrusted import as_csv
from hurdles.data.vocabulary import OnBad
from hurdles.evaluation.probing import Probe, source_probes, thumbnails
from hurdles.explanation.embedding import Projection, available_projection, project
from hurdles.pixels.cache import Prepared, prepare
from hurdles.pixels.prepare import Preparation
from hurdles.progress import Options
from hurdles.recipe.images import UNNAMED
from hurdles.reporting.charts import embedding_figure
from hurdles.runs.images import prepare_for
from hurdles.runs.run import Run
from hurdles.runs.seen import seen_by
from hurdles.training.machine import this_machine
from hurdles.training.prediction import embed

#: Columns of ``embedding.csv``.
COLUMNS: dict[str, str] = {
    "image": "name of the image, as in the manifest",
    "label": "its class",
    "source": "its collection",
    "seen": "whether the run was trained or chosen on it, or on a copy",
    "x": "place in the picture, without a unit; empty where the image was not drawn",
    "y": "as x",
}
#: Side of the images whose plain pixels are probed beside the features.
_SMALL = 64


@dataclass(frozen=True)
class Embedding:
    """The results of `embed_run`.

    `folder` holds ``embedding.png``, ``embedding.csv`` (columns as in `COLUMNS`), ``features.npz``
    (arrays ``images`` and ``features``) and ``embedding.json``. `probes` are of plain pixels as
    decoded, of prepared pixels, and of the run's features: of all images, then of each class.
    """

    folder: Path
    probes: dict[str, list[Probe]]
    n_images: int
    n_drawn: int
    n_seen: int

    @property
    def figure(self) -> Path:
        """The picture."""
        return embedding_files(self.folder)[0]

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        return {
            "n_images": self.n_images,
            "n_drawn": self.n_drawn,
            "n_seen": self.n_seen,
            "probes": {name: [p.to_dict() for p in each] for name, each in self.probes.items()},
        }

    def lines(self) -> list[str]:
        """Return what a person reads on the console."""
        lines = ["How well a linear probe tells the collection (0.5 is chance):", ""]
        for name, probes in self.probes.items():
            lines.append(name)
            lines += [f"  {p.within or 'all images'}: {p}" for p in probes]
        if self.n_seen:
            lines += ["", f"{self.n_seen} of {self.n_images} images were seen in training."]
        return lines


def embedding_files(folder: Path) -> list[Path]:
    """Return what `embed_run` writes: the picture, the features, the points and the probes."""
    names = ("embedding.png", "features.npz", "embedding.csv", "embedding.json")
    return [folder / name for name in names]


def embed_run(
    run: Run,
    manifest: Manifest,
    *,
    out: Path,
    method: Projection | str = Projection.T_SNE,
    limit: int = 2000,
    seed: int = 0,
    options: Options | None = None,
) -> Embedding:
    """Embed images of several collections by a run's network, draw them, and probe for the source.

    The same probe is asked of the plain pixels before and after the run's preparation, so that it
    can be seen what the preparation takes away and what the network adds.
    """
    options = options or Options()
    method = available_projection(method)
    run.require_finished()
    prepared = prepare_for(run, manifest, options)
    frame = prepared.manifest.frame
    machine, listener = this_machine("float32"), options.listener
    network = run.network().to(machine.device)
    listener.start("Embedding", len(prepared))
    features = embed(network, prepared.pixels, machine=machine, progress=listener)
    sources = frame["source"].fillna(UNNAMED).tolist()
    drawn = _evenly(sources, limit, seed)
    listener.start("Laying out", 1)
    xy = project(features[drawn], method=method, seed=seed)
    listener.advance()
    probes = _probes(run, prepared, features, sources, seed, options)
    seen = seen_by(run, prepared, options).known
    embedding = Embedding(Path(out), probes, len(prepared), len(drawn), int(seen.sum()))
    points = np.full((len(prepared), 2), np.nan)
    points[drawn] = xy
    table = frame[["image", "label"]].assign(source=sources, seen=seen)
    table = table.assign(x=points[:, 0], y=points[:, 1])
    picture, numbers, places, results = embedding_files(embedding.folder)
    write_bytes(picture, _figure(run, embedding, table.iloc[drawn], xy))
    with replacing(numbers) as part, part.open("wb") as stream:
        np.savez_compressed(stream, images=table["image"].to_numpy(dtype=str), features=features)
    write_text(places, as_csv(table[list(COLUMNS)]))
    write_text(results, json.dumps(embedding.to_dict(), indent=2) + "\n")
    return embedding


def _probes(
    run: Run,
    prepared: Prepared,
    features: NDArray[np.float32],
    sources: list[str],
    seed: int,
    options: Options,
) -> dict[str, list[Probe]]:
    raw = prepare(
        prepared.manifest, Preparation(size=_SMALL), cache=options.cache, on_bad=OnBad.STOP
    )
    tables: dict[str, NDArray[np.float32]] = {"pixels as decoded": thumbnails(raw.pixels)}
    name = run.recipe.preparation.name
    if name != "raw":
        tables[f"pixels, {name}"] = thumbnails(prepared.pixels)
    tables["features of the network"] = features
    options.listener.start("Probing for the collection", len(tables))
    labels = prepared.manifest.frame["label"].tolist()
    groups = prepared.manifest.groups.tolist()
    probes = {}
    for words, table in tables.items():
        probes[words] = source_probes(
            table, sources=sources, labels=labels, groups=groups, seed=seed
        )
        options.listener.advance(note=words)
    return probes


def _evenly(sources: Sequence[str], limit: int, seed: int) -> NDArray[np.int64]:
    """Return at most `limit` rows, as many of each source as there are or its equal share."""
    names = np.asarray(sources)
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(np.flatnonzero(names == name)) for name in np.unique(names)]
    kept: list[NDArray[np.int64]] = []
    left = limit
    # The small ones first: what they do not fill is shared by the others.
    for number, some in enumerate(sorted(rows, key=len)):
        kept.append(some[: left // (len(rows) - number)])
        left -= len(kept[-1])
    return np.sort(np.concatenate(kept))


def _figure(run: Run, embedding: Embedding, drawn: pd.DataFrame, xy: NDArray[np.float32]) -> bytes:
    notes = [
        f"Linear probe for the collection, {name}: {probes[0]}."
        for name, probes in embedding.probes.items()
    ]
    if embedding.n_drawn < embedding.n_images:
        notes.append(
            f"{embedding.n_drawn:,} of {embedding.n_images:,} images are drawn; the probes use all."
        )
    if embedding.n_seen:
        notes.append(
            f"{embedding.n_seen:,} of {embedding.n_images:,} images were seen in training."
        )
    notes.append("Neighbours are alike; distances between groups and their sizes mean nothing.")
    title = f"{run.recipe.name}: what the head of the network is given"
    return embedding_figure(
        xy, drawn["label"].tolist(), drawn["source"].tolist(), title=title, notes=notes
    )
