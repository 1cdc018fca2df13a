"""A program of somebody else's, run once: a time limit, a log of what it prints, no leftovers."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hurdles.data.untrusted import shown

#: Seconds between the polite signal and the one that cannot be refused: a container stops by it.
_GRACE_S = 5.0
_GLANCE_S = 0.1
#: Bytes that a program may print; one that prints without end would fill the disk.
MOST_PRINTED = 256 << 20
#: Lines of the log that an error repeats, and how long each may be.
_LAST, _LONG = 8, 300


@dataclass(frozen=True)
class Ending:
    """The end of a program: why it is a failure (empty where it is none), and how long it took."""

    failure: str
    seconds: float
    log: Path

    @property
    def last_lines(self) -> list[str]:
        """The last lines that it printed, safe for a terminal."""
        return last_lines(self.log)


def run_program(
    words: Sequence[str],
    log: Path,
    *,
    limit_s: float,
    listen: Callable[[str], object] = str,
) -> Ending:
    """Run a program until it ends or its time is over; what it started ends with it.

    It runs in the current folder, with the environment of this process and nothing to read. What it
    prints goes into `log`, and its latest line to `listen`. It is a process group of its own, which
    is ended with it: first asked to (SIGTERM), then killed.
    """
    began = time.monotonic()
    with log.open("wb") as printed:
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                env={"PYTHONUNBUFFERED": "1", **os.environ},  # else its last lines die with it
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            return Ending(f"cannot be started ({why})", 0.0, log)
    failure, line = "", ""
    try:
        while process.poll() is None:
            time.sleep(_GLANCE_S)
            if (latest := _latest(log)) and latest != line:
                line = latest
                listen(line)
            if time.monotonic() - began > limit_s:
                failure = f"did not end within {limit_s:.0f} s and was killed"
            elif log.stat().st_size > MOST_PRINTED:
                failure = f"printed more than {MOST_PRINTED >> 20} MiB and was killed"
            if failure:
                break
    finally:
        _end(process, kindly=process.poll() is None)
    return Ending(failure or _failure(process.returncode), time.monotonic() - began, log)


def _end(process: subprocess.Popen[bytes], *, kindly: bool) -> None:
    """End a process group, also what is left of it after its leader."""
    if kindly:
        _signal(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
    _signal(process.pid, signal.SIGKILL)
    process.wait()


def _signal(group: int, which: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, which)


def _failure(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}" if code else ""
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    memory = "; a system that is short of memory does that" if name == "SIGKILL" else ""
    return f"was killed by {name}{memory}"


def last_lines(log: Path, most: int = _LAST) -> list[str]:
    """Return the last lines of a log; of a line that is drawn again and again, its last state."""
    with suppress(OSError), log.open("rb") as handle:
        handle.seek(max(0, log.stat().st_size - (_LONG * most << 4)))
        text = handle.read().decode("utf-8", "replace").replace("\r\n", "\n")
        lines = [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n")]
        return [shown(line[:_LONG]) for line in lines if line][-most:]
    return []


def _latest(log: Path) -> str:
    return next(iter(last_lines(log, 1)), "")
