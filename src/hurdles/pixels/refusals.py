"""What a preparation could not use, remembered: looking for lungs twice would not find them.

One small JSON file beside the packs of a preparation maps the hash of a file's content to the
reason. Only refusals that follow from the content and the preparation's key alone are kept; a file
that cannot be decoded is tried again each time, since another decoder may be installed by then.
"""

from __future__ import annotations

from pathlib import Path

from hurdles.data.files import read_sealed, write_sealed
from hurdles.errors import CacheError, LungsNotFoundError


class Refusals:
    """The refused contents of one preparation.

    Parameters
    ----------
    folder : Path
        Where the preparation's packs lie.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "refused.json"
        self._reasons = self._read()

    def error(self, key: str, path: str) -> LungsNotFoundError | None:
        """Return why a content was refused, as the error of the file at `path`, or None."""
        reason = self._reasons.get(key)
        return None if reason is None else LungsNotFoundError(reason, path)

    def put_away(self, errors: dict[str, LungsNotFoundError]) -> None:
        """Remember refusals by content; where two processes write at once, one may be forgotten."""
        if not errors:
            return
        new = {key: error.message for key, error in errors.items()}
        self._reasons = self._read() | self._reasons | new
        try:
            write_sealed(self._path, self._reasons)
        except OSError as error:
            raise CacheError(
                f"the cache cannot be written ({error.strerror or error}: {self._path}); free "
                "some space, or set HURDLES_CACHE to a folder that you may write to."
            ) from error

    def _read(self) -> dict[str, str]:
        found: dict[str, str] | None = read_sealed(self._path)
        return found or {}  # absent or damaged: it is found out again
