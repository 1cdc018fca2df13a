"""Answers that were given once, by the content of the image: nothing is asked a second time."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hurdles.data.files import read_sealed, write_sealed


class AnswerStore:
    """Answers of one model in one folder, a sealed file for each time that it was started.

    A file that is damaged counts as absent, so that its images are asked again.
    """

    def __init__(self, folder: Path, n_labels: int, *, fresh: bool = False) -> None:
        self.folder = folder
        self._rows: dict[str, NDArray[np.float64]] = {}
        self.meta: list[dict[str, Any]] = []
        if fresh and folder.is_dir():
            shutil.rmtree(folder)
        for path in sorted(folder.glob("*.json")):
            content = read_sealed(path)
            if not isinstance(content, dict):
                continue
            self.meta.append(content["meta"])
            rows = content["answers"].items()
            self._rows |= {h: np.array(p) for h, p in rows if len(p) == n_labels}

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, image: str) -> bool:
        return image in self._rows

    def rows(self, images: Sequence[str]) -> NDArray[np.float64]:
        """Return the answers to images, shape (n, K)."""
        return np.stack([self._rows[image] for image in images])

    def add(self, answers: Mapping[str, NDArray[np.float64]], meta: Mapping[str, Any]) -> None:
        """Keep answers, and what is to be known of them."""
        self._rows |= answers
        self.meta.append(dict(meta))
        lists = {image: row.tolist() for image, row in answers.items()}
        path = self.folder / f"{secrets.token_hex(8)}.json"
        write_sealed(path, {"answers": lists, "meta": dict(meta)})
