"""JSON Schemas that ship: what a JSON file of hurdles holds, versioned, and what breaks that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from hurdles.errors import EvaluationError

#: Faults of one file that are named.
_MOST = 20
#: Digits of a whole number in a file; one with more is beyond any float.
_DIGITS = 300
_LONGEST = 160


@dataclass(frozen=True)
class Schema:
    """JSON Schema (draft 2020-12) that ships in a room of the package.

    `id` is its ``$id``, which every file names that is written by it; `room` and `file` say where
    it lies. An earlier version's file, which names none, is still read.
    """

    id: str
    room: str
    file: str

    @property
    def content(self) -> dict[str, Any]:
        """The schema itself."""
        return _content(self.room, self.file)

    def require_known(self, plain: Mapping[str, Any]) -> None:
        """Raise an EvaluationError if a file was written by another schema than this one."""
        named = plain.get("schema", self.id) if isinstance(plain, Mapping) else self.id
        if named != self.id:
            raise EvaluationError(
                f"it is of the schema {named!r}, and this version of hurdles reads {self.id!r}; "
                "use the version that wrote it"
            )

    def faults(self, plain: Any) -> list[str]:
        """Return what breaks the schema, each with its place; nothing where all is as it must be.

        A number that is none (NaN, infinity) is no JSON and breaks it too.
        """
        from jsonschema import Draft202012Validator

        errors = Draft202012Validator(self.content).iter_errors(plain)
        found = sorted((error.json_path, error.message) for error in errors)
        found += [(place, "is not a finite number") for place in _not_finite(plain, "$")]
        return [f"{place}: {_short(message)}" for place, message in found[:_MOST]]


def _short(message: str) -> str:
    return message if len(message) <= _LONGEST else f"{message[:60]} ... {message[-95:]}"


def _not_finite(value: Any, place: str) -> list[str]:
    if isinstance(value, dict):
        return [p for key, inner in value.items() for p in _not_finite(inner, f"{place}.{key}")]
    if isinstance(value, list):
        return [p for i, inner in enumerate(value) for p in _not_finite(inner, f"{place}[{i}]")]
    return [place] if isinstance(value, float) and not abs(value) < float("inf") else []


@cache
def _content(room: str, file: str) -> dict[str, Any]:
    text = (resources.files(room) / file).read_text(encoding="utf-8")
    return dict(json.loads(text))


def read_json_object(path: str | Path) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Raises
    ------
    EvaluationError
        If there is none, the file holds something else, or a key stands twice in an object.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        plain = dict(pairs)
        if len(plain) < len(pairs):
            raise ValueError("a key stands twice in one object")
        return plain

    def whole(digits: str) -> int:
        if len(digits) > _DIGITS:
            raise ValueError(f"a whole number has {len(digits)} digits")
        return int(digits)

    try:
        text = Path(path).read_text(encoding="utf-8")
        plain = json.loads(text, object_pairs_hook=once, parse_int=whole)
        json.dumps(plain, ensure_ascii=False).encode()  # not with half of a surrogate pair
        if not isinstance(plain, dict):
            raise ValueError(f"it holds no object but {type(plain).__name__}")
    except (OSError, ValueError, RecursionError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise EvaluationError(f"{path} is no JSON file of hurdles ({why}).") from error
    return plain
