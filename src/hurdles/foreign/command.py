"""A model that is a command: a folder of PNGs in, a table out, in its user's own environment.

The command is started as seldom as can be: what is asked together goes into one folder, every
image once, and what was answered is kept by the image's content, so that an interrupted audit goes
on and nothing is asked a second time. Images go in an order, and by names, that tell nothing of
their class or of how they were altered.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hurdles.data.files import expanded
from hurdles.data.untrusted import listed
from hurdles.errors import ModelError, OutputError
from hurdles.foreign.answers import read_answers
from hurdles.foreign.command_line import parsed
from hurdles.foreign.program import Ending, run_program
from hurdles.foreign.store import AnswerStore
from hurdles.progress import Progress, Silent, processors

if TYPE_CHECKING:
    from hurdles.foreign.answers import AnswerTable

__all__ = ["CommandModel"]

#: Images of the first start that go in twice, under other names, and what may differ by rounding.
_TWICE, _ROUNDING = 8, 1e-4
#: Of a program that nobody has timed: seconds for its start, and for each image.
_START_S, _IMAGE_S = 300.0, 2.0
#: One time for all files: when an image was written would tell what it was altered with.
_TIME = 1_600_000_000
_TABLES = frozenset({".csv", ".parquet", ".tsv", ".txt", ".xlsx"})


class CommandModel:
    """A classifier behind a command line, asked by folders of images.

    Each start gets a new private folder of square 8-bit gray PNGs, and has to write a table with a
    row per image: its name, and a probability for each class (`hurdles.foreign.answers`). Answers
    are kept in `folder` by the image's SHA-256, under a key of the command, the classes and the
    content of the files that the command names: a program that was changed is asked anew.

    Parameters
    ----------
    command : str
        As it would be typed, with ``{images}`` and ``{out}`` or ``{out_dir}`` in it. No shell
        reads it, unless it is one: ``sh -c '...'``. It is run in the current folder.
    labels : sequence of str
        The classes, two or more.
    folder : str or Path
        Where answers, logs and, while the program runs, images are kept.
    size : int
        Side of the images in pixels, at least 16. The program resizes them as it needs.
    name : str, optional
        As a reader calls the model. Default: the command.
    positive : str, optional
        Of two classes, the one whose probability is answered, see `read_answers`.
    limit_s : float, optional
        Seconds after which a start is ended. Default: 300, and 2 for each image.
    images_per_start, bytes_per_start : int
        At most so many images, and so many bytes before compression, lie on the disk at once.
    fresh : bool
        Forget what this model answered before.
    listener : Progress, optional
        Is told of starts, and what the program prints.

    Raises
    ------
    ModelError
        If the command cannot be run as it is, or there are fewer than two classes.
    OutputError
        If `folder` cannot be written to.
    """

    preparation = "raw"
    capabilities = frozenset({"answers"})

    def __init__(
        self,
        command: str,
        labels: Sequence[str],
        *,
        folder: str | Path,
        size: int = 512,
        name: str | None = None,
        positive: str | None = None,
        limit_s: float | None = None,
        images_per_start: int = 20_000,
        bytes_per_start: int = 2 << 30,
        fresh: bool = False,
        listener: Progress | None = None,
    ) -> None:
        self.line = parsed(command)
        self.labels = tuple(labels)
        if len(set(self.labels)) < max(2, len(self.labels)):
            raise ModelError(f"a model tells two or more classes apart, not {listed(labels, 8)}.")
        if positive is not None and positive not in self.labels:
            raise ModelError(f"the positive class {positive!r} is none of {', '.join(labels)}.")
        if size < 16 or images_per_start < 1 or (limit_s is not None and limit_s <= 0):
            raise ModelError(
                f"size is {size}, images_per_start {images_per_start}, limit_s {limit_s}; give a "
                "size of at least 16 and numbers above 0."
            )
        self.name, self.size, self.positive = name or command, size, positive
        self.limit_s = limit_s
        self.images_per_start = max(1, min(images_per_start, bytes_per_start // size**2))
        self._listener = listener or Silent()
        self.folder = expanded(folder).absolute()
        with self._writing():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        #: Files and folders that the command names, each with its hash.
        self.files = self.line.files(self.folder)
        self._store = AnswerStore(
            self.folder / "answers" / self.key[:16], len(self.labels), fresh=fresh
        )
        self.starts = 0
        _sweep(self.folder)

    @property
    def key(self) -> str:
        """SHA-256 of all that the answers depend on as far as it is known, in hexadecimal."""
        what = [self.line.text, self.labels, self.positive, sorted(self.files.items())]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()

    @property
    def answered(self) -> int:
        """Number of images whose answer is kept."""
        return len(self._store)

    @property
    def difference(self) -> float | None:
        """Largest difference of two answers to one image within a start; None before the first."""
        known = [meta["difference"] for meta in self._store.meta]
        return max((d for d in known if d is not None), default=None)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that a reader of the answers should know."""
        files = ", ".join(self.files) or "none"
        notes = [
            "answers are kept by the image's content, the command and the content of the files "
            f"that it names ({files}); if anything else of the program was changed, ask anew"
        ]
        if self.difference is not None and self.difference > _ROUNDING:
            notes.append(_unsteady(self.difference))
        return (*notes, *dict.fromkeys(note for meta in self._store.meta for note in meta["notes"]))

    def ask(
        self, pixels: NDArray[np.uint8], masks: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        """Return the probabilities of every class.

        Parameters
        ----------
        pixels : uint8 array of shape (n, size, size)
            Images, 0 dark.
        masks : optional
            Not used: the program is given images only.

        Returns
        -------
        float64 array of shape (n, K)
            Within [0, 1], rows sum to one.

        Raises
        ------
        ModelError
            If the program fails or does not answer every image as it must. What it did answer is
            kept.
        OutputError
            If the images cannot be written.
        """
        return next(self.ask_many([(pixels, masks)]))

    def ask_many(
        self, questions: Iterable[tuple[NDArray[np.uint8], NDArray[np.bool_] | None]]
    ) -> Iterator[NDArray[np.float64]]:
        """Yield an answer as of `ask` for each pair of pixels and masks, with one start for all.

        There are more starts only where the images are more than `images_per_start`. Pairs are
        taken as there is room, so that they need not all be in memory at once.
        """
        waiting: deque[list[str]] = deque()
        with ExitStack() as stack:
            place: Path | None = None
            staged: dict[str, None] = {}
            for pixels, _ in questions:
                hashes = self._hashes(pixels)
                waiting.append(hashes)
                new = {h: i for i, h in enumerate(hashes) if h not in self._store}
                new = {h: i for h, i in new.items() if h not in staged}
                rest = list(new)
                while rest:
                    place = place or stack.enter_context(self._place())
                    room = self.images_per_start - len(staged)
                    some, rest = rest[:room], rest[room:]
                    self._stage(place, [(h, pixels[new[h]]) for h in some])
                    staged |= dict.fromkeys(some)
                    if len(staged) == self.images_per_start:
                        self._start(place, list(staged))
                        staged = {}
                while waiting and all(h in self._store for h in waiting[0]):
                    yield self._store.rows(waiting.popleft())
            if staged:
                assert place is not None
                self._start(place, list(staged))
        for hashes in waiting:
            yield self._store.rows(hashes)

    # --- images on the disk --------------------------------------------------------------------

    def _hashes(self, pixels: NDArray[np.uint8]) -> list[str]:
        shape = (self.size, self.size)
        if pixels.dtype != np.uint8 or pixels.shape[1:] != shape or not len(pixels):
            raise ModelError(
                f"{self.name} is asked about {pixels.dtype} images of shape {pixels.shape}; it "
                f"takes uint8 of shape (n, {self.size}, {self.size}), n at least 1."
            )
        return [hashlib.sha256(each.tobytes()).hexdigest() for each in pixels]

    @contextmanager
    def _place(self) -> Iterator[Path]:
        """Yield a new private folder that is gone afterwards, with the images in it."""
        from filelock import FileLock

        place = self.folder / f"images-{secrets.token_hex(4)}"
        lock = _lock_of(place)
        try:
            with FileLock(lock):
                with self._writing():
                    place.mkdir(mode=0o700)
                yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)
            lock.unlink(missing_ok=True)

    def _stage(self, place: Path, images: Sequence[tuple[str, NDArray[np.uint8]]]) -> None:
        import cv2

        quick = [cv2.IMWRITE_PNG_COMPRESSION, 1]
        quick += [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY]

        def write(image: tuple[str, NDArray[np.uint8]]) -> None:
            name, pixels = image
            _, png = cv2.imencode(".png", pixels, quick)
            (place / f"{name}.png").write_bytes(png.tobytes())

        with self._writing(), ThreadPoolExecutor(processors()) as pool:
            list(pool.map(write, images))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"{self.folder} cannot be written ({error.strerror or error}); free some space "
                "there, or give a place that you may write to. What was answered is kept."
            ) from error

    def _laid_out(self, place: Path, staged: Sequence[str]) -> dict[str, tuple[str, bool]]:
        """Name the images by the order of their hashes; return what each name is.

        On the first start some go in twice, elsewhere in the order.
        """
        images = place / f"{self.starts}" / "images"
        for folder, mode in ((images, 0o755), (images.with_name("out"), 0o777)):
            folder.mkdir(parents=True)
            folder.chmod(mode)  # for the user of a container; the folder around it is private
        repeated = sorted(staged)[:_TWICE] if self.difference is None else []
        again = {hashlib.sha256(f"{h} again".encode()).hexdigest(): h for h in repeated}
        keys = sorted([*staged, *again])
        names = {f"image-{n:06d}.png": key for n, key in enumerate(keys, start=1)}
        for name, key in sorted(names.items(), key=lambda each: each[1] not in again):
            if key in again:
                shutil.copyfile(place / f"{again[key]}.png", images / name)
            else:
                (place / f"{key}.png").rename(images / name)
            os.utime(images / name, (_TIME, _TIME))
        return {name: (again.get(key, key), key in again) for name, key in names.items()}

    # --- the program -----------------------------------------------------------------------------

    def _start(self, place: Path, staged: Sequence[str]) -> None:
        """Ask about the images that lie ready; keep every answer, and name what is wrong."""
        self.starts += 1
        with self._writing():
            names = self._laid_out(place, staged)
            logs = self.folder / "logs"
            logs.mkdir(exist_ok=True)
        stamp = time.strftime("%Y%m%d-%H%M%S")
        log = logs / f"{stamp}-{secrets.token_hex(2)}.txt"
        here = place / f"{self.starts}"
        out = here / "out" / "answers.csv"
        limit = self.limit_s or _START_S + _IMAGE_S * len(names)
        # Not a stage of its own: whoever asks is in the middle of one.
        before = f", {self.answered:,} are answered" if self.answered else ""
        self._listener.say(f"start {self.starts} of the program: {len(names):,} images{before}")
        ending = run_program(
            self.line.filled(here / "images", out),
            log,
            limit_s=limit,
            listen=lambda line: self._listener.advance(0, line),
        )
        problems = [f"it {ending.failure}"] if ending.failure else []
        table, answers = out, None
        try:
            table = self._table(out, cut=bool(ending.failure))
            answers = read_answers(table, list(names), self.labels, positive=self.positive)
        except ModelError as error:
            problems.append(str(error).rstrip(".").replace(f"{table}: ", "its table: "))
        if answers is not None:
            problems += [f"its table: {problem}" for problem in answers.problems]
            self._keep(names, answers, ending)
        failure = None
        if answers is None or not answers.answered.all():
            failure = self._failed(ending, problems, staged, self._kept_table(table, log))
        shutil.rmtree(here, ignore_errors=True)
        if failure is not None:
            raise failure

    def _table(self, out: Path, *, cut: bool) -> Path:
        """Return the table that was written; of one that was cut off, whole lines only."""
        if out.parent.is_dir() and not out.is_file() and not self.line.names_table:
            others = [p for p in sorted(out.parent.iterdir()) if p.suffix.lower() in _TABLES]
            out = others[0] if len(others) == 1 else out
        if not out.parent.is_dir():
            raise ModelError(f"it removed {out.parent}, the folder of its table.")
        if not out.is_file():
            beside = [p.name for p in sorted(out.parent.iterdir())]
            instead = f"; beside it there is {listed(beside)}" if beside else ""
            hint = "" if cut else ". Write the table to the path given by {out}"
            raise ModelError(f"it wrote no table: {out.name} is not there{instead}{hint}.")
        if not out.stat().st_size:
            raise ModelError("its table is empty.")
        if cut and out.suffix.lower() in (".csv", ".tsv", ".txt"):
            content = out.read_bytes()
            out = out.parent.with_name("whole-lines.csv")  # the table may be another user's
            out.write_bytes(content[: content.rfind(b"\n") + 1])
        return out

    def _keep(
        self, names: dict[str, tuple[str, bool]], answers: AnswerTable, ending: Ending
    ) -> None:
        """Keep what was answered, and how much two answers to the same image differ."""
        first: dict[str, NDArray[np.float64]] = {}
        again: dict[str, NDArray[np.float64]] = {}
        rows = zip(names.values(), answers.probabilities, answers.answered, strict=True)
        for (image, is_again), row, usable in rows:
            if usable:
                (again if is_again else first)[image] = row
        apart = [float(np.abs(first[h] - again[h]).max()) for h in again if h in first]
        notes = [f"its table: {note}" for note in answers.notes]
        if ending.failure and answers.answered.all():
            notes.append(f"the program {ending.failure}, after it had answered every image")
        if first:
            difference = max(apart, default=None)
            self._store.add(first, {"difference": difference, "notes": notes})
            if difference is not None and difference > _ROUNDING:
                self._listener.say(_unsteady(difference))

    def _kept_table(self, table: Path, log: Path) -> Path | None:
        """Keep a table that cannot be used beside the log, to be looked at."""
        with suppress(OSError):
            if table.is_file() and table.stat().st_size:
                return Path(shutil.copyfile(table, log.with_suffix(f".table{table.suffix}")))
        return None

    def _failed(
        self, ending: Ending, problems: Sequence[str], staged: Sequence[str], table: Path | None
    ) -> ModelError:
        answered = sum(h in self._store for h in staged)
        kept = "; they are kept, and the same command goes on with the others" if answered else ""
        its_table = f", its table: {table}" if table else ""
        message = (
            f"the model's program, {self.line.text}, failed: {'; '.join(problems)}. {answered} of "
            f"{len(staged)} images of this start are answered{kept}. All that it printed: "
            f"{ending.log}{its_table}. "
        )
        last = [line for line in ending.last_lines if line.strip(" ^~")]
        message += "At last it printed:" if last else "It printed nothing."
        return ModelError("\n    ".join([message, *last]))


def _unsteady(difference: float) -> str:
    return (
        f"the program's answers to the same image differ by up to {difference:.2g} within one "
        "start: it draws at random, or its answer to an image depends on the others (dropout, or "
        "batch normalization in training mode)"
    )


def _lock_of(place: Path) -> Path:
    return place.with_name(f"{place.name}.lock")


def _sweep(folder: Path) -> None:
    """Remove the images that a killed process has left; its lock died with it."""
    from filelock import FileLock, Timeout

    for place in folder.glob("images-*"):
        if place.is_dir():
            with suppress(Timeout, OSError), FileLock(_lock_of(place), timeout=0):
                shutil.rmtree(place, ignore_errors=True)
                _lock_of(place).unlink(missing_ok=True)
