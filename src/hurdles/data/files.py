"""Files that are either whole or absent, and outputs that destroy nothing.

Every file of hurdles is written by `replacing`: beside, then renamed into place. What a verb writes
for its user is announced by `outputs`, and then neither an input of the verb nor a file that
hurdles did not write is replaced. What hurdles wrote is remembered in the user's state folder, as
hashes: a file that was changed since is the user's. A run, which may go from machine to machine,
keeps a ledger of its own.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import platform
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hurdles.errors import HurdlesError, OutputError, RunError

_STALE_S = 24 * 3600.0
#: Bytes of a file that are read, and hashed, at once.
_PIECE = 1 << 20
_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
_UNWRITABLE = {
    errno.EACCES, errno.EDQUOT, errno.EEXIST, errno.EFBIG, errno.EISDIR, errno.ENAMETOOLONG,
    errno.ENOSPC, errno.ENOTDIR, errno.EPERM, errno.EROFS,
}  # fmt: skip
#: Parts that this process is writing, and folders in which it has looked for those of dead ones.
_OWN: set[str] = set()
_SWEPT: set[Path] = set()


@contextmanager
def replacing(path: str | Path, *, synced: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds.

    A reader sees the old file or the new one, never half of one. A killed writer leaves only a file
    whose name starts with a dot and ends in ``.part``, and the next one that writes into the folder
    removes it. Unless it is `synced`, the disk is not waited for: after a power failure the file
    may be damaged, so its reader has to hold it against a checksum and to do without it.
    """
    target = Path(path)
    name = f".{target.name}.{_HOST}-{os.getpid()}-{secrets.token_hex(4)}.part"
    part = target.with_name(name)
    _OWN.add(name)
    try:
        _refuse_what_is_no_file(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.parent not in _SWEPT:
            _SWEPT.add(target.parent)
            sweep(target.parent)
        yield part
        if synced:
            with part.open("rb+") as handle:  # Windows syncs only what may be written
                os.fsync(handle.fileno())
        for guard in _GUARDS:
            guard.refuse(target, part)
        announced = any(guard.announces(target) for guard in _GUARDS)
        if announced:
            _remember(target, file_hash(part))  # before: a kill may follow the renaming
        part.replace(target)
        for guard in _GUARDS if announced else ():
            guard.note(target)
    except OSError as error:
        if isinstance(error, HurdlesError) or error.errno not in _UNWRITABLE:
            raise
        raise OutputError(
            f"{target} cannot be written ({error.strerror}); free some space there, or give a "
            "place that you may write to."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        _OWN.discard(name)


def expanded(path: str | Path) -> Path:
    """Return a path with ``~`` expanded, and as it is where there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    with replacing(path) as part:
        part.write_bytes(content)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_sealed(path: str | Path, content: Any, *, synced: bool = True) -> None:
    """Write JSON with a checksum, whole or not at all; `synced` as of `replacing`."""
    text = json.dumps(content, sort_keys=True)
    with replacing(path, synced=synced) as part:
        part.write_bytes(f"{_seal(text)} {text}".encode())


def read_sealed(path: str | Path) -> Any:
    """Return what `write_sealed` wrote, or None where it is absent or a byte of it has changed."""
    try:
        seal, _, text = Path(path).read_text(encoding="utf-8").partition(" ")
    except (OSError, ValueError):
        return None
    return json.loads(text) if seal == _seal(text) else None


def _seal(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def file_hash(path: str | Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as handle:  # noqa: PTH123 - of thousands of files
        while piece := handle.read(_PIECE):  # hashlib.file_digest zeroes a buffer for each file
            digest.update(piece)
    return digest.hexdigest()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a second process from filling a folder, which is made; a lock dies with its process."""
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RunError(
            f"another process is filling {folder}; wait for it or use another --out."
        ) from None
    try:
        yield
    finally:
        lock.release()


def sweep(folder: Path) -> None:
    """Remove the parts that killed writers have left in a folder; those of living ones stay."""
    for part in folder.glob(".*.part"):
        with contextlib.suppress(OSError):  # another process was quicker
            if part.name not in _OWN and _is_abandoned(part):
                part.unlink()


def _is_abandoned(part: Path) -> bool:
    if time.time() - part.stat().st_mtime > _STALE_S:
        return True
    host, _, rest = part.name.removesuffix(".part").rpartition(".")[2].partition("-")
    number = rest.partition("-")[0]
    if host != _HOST or not number.isdigit() or os.name == "nt":  # there, asking would end it
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return int(number) == os.getpid()  # an earlier process had this number


def _refuse_what_is_no_file(target: Path) -> None:
    if target.is_dir():
        raise OutputError(f"{target} is a folder; give the name of a file to write.")
    if target.exists() and not target.is_file():
        raise OutputError(f"{target} is a device or a pipe; give the name of a file to write.")


class _Guard:
    """The outputs and the inputs of a verb that is being carried out."""

    def __init__(self, force: bool, folders: Iterable[str | Path], ledger: Path | None) -> None:
        self.force = force
        self.ledger = ledger
        self.folders = {Path(folder).resolve() for folder in folders}
        self.announced: set[Path] = set()
        self.inputs: set[str] = set()
        self.written: set[str] = set()
        self._identities: dict[tuple[int, int], list[str]] | None = None

    def announces(self, path: Path) -> bool:
        place = _place(path)
        return place in self.announced or place.parent in self.folders

    def refuse(self, target: Path, part: Path | None = None) -> None:
        """Raise an OutputError if `target` may not be replaced (by `part`, once that is known)."""
        if not target.is_file() or (
            part is not None
            and target.stat().st_size == part.stat().st_size
            and file_hash(target) == file_hash(part)
        ):
            return
        if self._identities is None:
            self._identities = {}
            for path in self.inputs:
                self._identities.setdefault(_identity(path), []).append(path)
        # An input that was replaced since leaves its inode to whichever file is made next.
        identity = _identity(target)
        if any(_identity(path) == identity for path in self._identities.get(identity, ())):
            raise OutputError(
                f"{target} is read by this command, which would overwrite it; give the output "
                "another name or folder."
            )
        if self.announces(target) and not self.force and not self.knows(target):
            raise OutputError(
                f"{target} is there, and hurdles did not write it, or it was changed since; give "
                "another name, or --force (force=True) to replace it."
            )

    def knows(self, path: Path) -> bool:
        """Return whether hurdles wrote a file; so it did all of a folder older than its ledger."""
        if (ledger := self._ledger_of(path)) is None:
            return _is_remembered(path)
        written = (read_sealed(ledger) or {}).get(_entry(ledger, path))
        return not ledger.is_file() or written == file_hash(path) or _is_remembered(path)

    def note(self, path: Path) -> None:
        """Keep that this verb wrote a file, which it may read then; in the ledger, if any, too."""
        self.written.add(str(path))
        if (ledger := self._ledger_of(path)) is not None and ledger.is_file():
            add_to_ledger(ledger, path)

    def _ledger_of(self, path: Path) -> Path | None:
        if self.ledger is None or not self.announces(path):
            return None
        inside = _place(path).is_relative_to(_place(self.ledger).parent)
        return self.ledger if inside else None

    def read(self, paths: Iterable[str]) -> None:
        self.inputs.update(path for path in paths if path not in self.written)
        self._identities = None
        for path in sorted(self.announced):
            self.refuse(path)


_GUARDS: list[_Guard] = []


@contextmanager
def outputs(
    *paths: str | Path | None,
    folders: Iterable[str | Path] = (),
    inputs: Iterable[str | Path] = (),
    force: bool = False,
    ledger: Path | None = None,
) -> Iterator[None]:
    """Announce what a verb writes; refuse before anything is computed what would destroy a file.

    Within the block, no file that `inputs` or `reads` name is replaced, announced or not, and of
    those that are announced none that hurdles did not write.
    """
    guard = _Guard(force, folders, ledger)
    guard.read(map(str, inputs))
    _GUARDS.append(guard)
    try:
        writes(*(path for path in paths if path is not None))
        yield
    finally:
        _GUARDS.remove(guard)


def writes(*paths: str | Path) -> None:
    """Announce further outputs of the verb that is being carried out; raises as `outputs`."""
    if not _GUARDS:
        return
    guard = _GUARDS[-1]
    for path in map(Path, paths):
        place = _place(path)
        if place in guard.announced:
            raise OutputError(
                f"{path} would be written twice, with different content; give the output another "
                "name."
            )
        _refuse_what_is_no_file(path)
        if (file := next((f for f in path.parents if f.is_file()), None)) is not None:
            raise OutputError(f"{path} cannot be written: {file} is a file; name a folder.")
        guard.announced.add(place)
        guard.refuse(path)


def reads(paths: Iterable[str | Path]) -> None:
    """Note files as inputs of the verb that is being carried out; raises as `outputs`."""
    if _GUARDS:
        names = [str(path) for path in paths]
        for guard in _GUARDS:
            guard.read(names)


def remove(path: Path) -> None:
    """Remove a file of hurdles; an announced output only if hurdles wrote it, or by force."""
    announced = [guard for guard in _GUARDS if guard.announces(path)]
    if path.is_file() and all(guard.force or guard.knows(path) for guard in announced):
        path.unlink()


def add_to_ledger(ledger: Path, *paths: Path) -> None:
    """Begin a ledger, or add to it that hurdles wrote these files as they are now."""
    written = {_entry(ledger, path): file_hash(path) for path in paths}
    write_sealed(ledger, (read_sealed(ledger) or {}) | written)


def _entry(ledger: Path, path: Path) -> str:
    return _place(path).relative_to(_place(ledger).parent).as_posix()


def _place(path: Path) -> Path:
    return path.parent.resolve() / path.name  # a link at the end would be replaced, not followed


def _identity(path: str | Path) -> tuple[int, int]:
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return (0, 0)
    return (status.st_dev, status.st_ino)


def _record(path: Path) -> Path:
    from platformdirs import user_state_path

    name = hashlib.sha256(os.fsencode(_place(path))).hexdigest()[:32]
    return user_state_path("hurdles", appauthor=False) / "written" / name


def _is_remembered(path: Path) -> bool:
    try:
        return file_hash(path) in _record(path).read_text().split()
    except (OSError, ValueError):
        return False


def _remember(path: Path, content: str) -> None:
    record = _record(path)
    with contextlib.suppress(OSError):  # then --force is asked for the next time
        record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Added, as the earlier content is still there.
        if not record.is_file() or content not in record.read_text().split():
            with record.open("a") as handle:
                handle.write(f"\n{content}")
