"""Inputs of a result, each named by the SHA-256 of its content, and the digest of a result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from hurdles.data.files import file_hash
from hurdles.data.manifest import Manifest

__all__ = ["Input", "Role"]

#: Keys of a JSON file that its digest leaves out: itself, and what only a command adds.
_BESIDE = ("digest", "report", "written")


class Role(StrEnum):
    """Part that an input played."""

    IMAGES = "images"  # one digest of all files
    ROWS = "rows"  # names, classes, patients ... of these images; not where they lie
    TABLE = "table"  # a file that lists images
    PREDICTIONS = "predictions"
    MODEL = "model"
    SPEC = "spec"
    EXPECTATION = "expectation"
    WEIGHTS = "weights"
    RECIPE = "recipe"
    THRESHOLD = "threshold"
    LIMITS = "limits"
    HURDLES = "hurdles"  # a file of one's own


@dataclass(frozen=True)
class Input:
    """File, or set of images, that a result was made of.

    Parameters
    ----------
    role : Role
        Part that it played.
    name : str
        A file's name, without the folders above; a file of a run by its place in the run's folder;
        a set of images by what it is called. Never a place on the user's machine.
    sha256 : str
        SHA-256 of the file's content, 64 hexadecimal digits. Of images: of the sorted SHA-256 of
        all files, a line each, so that neither names nor order matter. Of rows:
        `Manifest.content_hash`.
    n : int or None
        How many images or rows; None of a file.

    Examples
    --------
    >>> one, two = "a" * 64, "b" * 64
    >>> Input.of_images("ward", [one, two]) == Input.of_images("ward", [two, one])
    True
    """

    role: Role
    name: str
    sha256: str
    n: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "role", Role(self.role))

    @classmethod
    def of_file(cls, role: Role | str, path: str | Path, name: str = "") -> Input:
        """Return a file with the SHA-256 of its content; by default it goes by its own name."""
        return cls(Role(role), name or Path(path).name, file_hash(path))

    @classmethod
    def of_images(cls, name: str, contents: Iterable[str]) -> Input:
        """Return images by the SHA-256 of each file, as `hurdles.pixels.cache.contents_of` has."""
        lines = sorted(contents)
        digest = hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
        return cls(Role.IMAGES, name, digest, len(lines))

    @classmethod
    def of_rows(cls, name: str, manifest: Manifest) -> Input:
        """Return what a manifest says of its images, whatever file it was read from."""
        return cls(Role.ROWS, name, manifest.content_hash, len(manifest))

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON; `n` only where something was counted."""
        plain = {"role": str(self.role), "name": self.name, "sha256": self.sha256}
        return plain if self.n is None else {**plain, "n": self.n}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Input:
        """Read what `to_dict` wrote."""
        return cls(**plain)

    def __str__(self) -> str:
        return f"{self.role} {self.name}"


def inputs_from(plain: Mapping[str, Any]) -> tuple[Input, ...]:
    """Return the inputs that a JSON file names; none where it is older than these."""
    return tuple(map(Input.from_dict, plain.get("inputs", ())))


def digest(plain: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a JSON object, whatever the order of its keys and its spaces.

    Examples
    --------
    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1, "digest": "any"})
    True
    """
    kept = {key: value for key, value in plain.items() if key not in _BESIDE}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
