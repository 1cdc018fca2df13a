"""Compressed DICOM frames and TIFF pages, decoded where a decoder may die.

Native decoders abort or run away on damaged bytes: one byte of a JPEG-LS stream ends the process.
So they run in processes of their own (`hurdles.pixels.frame_worker`), with limits of time and
memory that follow from what the header announces. A process serves one frame after the other, and
is started again after it died; there are as many as threads that decode.
"""

from __future__ import annotations

import atexit
import json
import math
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from hurdles.errors import ImageTooLargeError, TruncatedImageError, UnsupportedImageError

#: Seconds of processor time for any frame, and for each million of samples on top.
_SECONDS, _SECONDS_PER_MILLION = 5, 1.5
#: Bytes for any frame, and for each announced sample on top: decoders hold several copies.
_MEMORY, _MEMORY_PER_SAMPLE = 128 << 20, 32
#: By the clock so many times longer: a machine may be busy, and a process may wait.
_PATIENCE = 12
_SCRIPT = Path(__file__).with_name("frame_worker.py")


class DecodingError(Exception):
    """A decoder lived to say why it does not read the bytes."""


def decode_frame(frame: bytes, syntax: str, options: dict[str, Any]) -> np.ndarray:
    """Decode one compressed frame in another process."""
    samples = options["rows"] * options["columns"] * options["samples_per_pixel"]
    return _decode(frame, samples, {"syntax": str(syntax), "options": options})


def decode_page(tiff: bytes, page: int, samples: int, mode: str | None) -> np.ndarray:
    """Decode one page of a TIFF in another process."""
    return _decode(tiff, samples, {"page": page, "mode": mode})


def _decode(content: bytes, samples: int, form: dict[str, Any]) -> np.ndarray:
    request = form | {
        "bytes": len(content),
        "seconds": math.ceil(_SECONDS + _SECONDS_PER_MILLION * samples / 1e6),
        "memory": _MEMORY + _MEMORY_PER_SAMPLE * samples + 2 * len(content),
    }
    with _IDLE.lock:
        worker = _IDLE.workers.pop() if _IDLE.workers else None
    if worker is not None and not worker.lives:
        worker.close()
        worker = None
    worker = worker or _Worker()
    usable = False
    try:
        pixels = worker.decode(content, request)
        usable = True
    except DecodingError:
        usable = True
        raise
    finally:
        if usable:
            with _IDLE.lock:
                _IDLE.workers.append(worker)
        else:
            worker.close()  # its answer may still come
    return pixels


class _Worker:
    """One process that decodes."""

    def __init__(self) -> None:
        single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(_SCRIPT)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                env={**os.environ, **single, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )  # fmt: skip
        except OSError as error:
            raise UnsupportedImageError(
                "TIFF and compressed DICOM are decoded in a process of their own, and none can be "
                f"started ({error.strerror or error}); free some memory."
            ) from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def decode(self, content: bytes, request: dict[str, Any]) -> np.ndarray:
        timer = threading.Timer(_PATIENCE * request["seconds"], self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            self._to.write(json.dumps(request).encode() + b"\n")
            self._to.write(content)
            self._to.flush()
            line = self._from.readline()
            if not line:
                raise EOFError
            answer = json.loads(line)
            if "error" in answer:
                raise DecodingError(answer["error"])
            dtype = np.dtype(answer["dtype"])
            raw = bytearray(self._from.read(math.prod(answer["shape"]) * dtype.itemsize))
            pixels = np.frombuffer(raw, dtype).reshape(answer["shape"])
        except (EOFError, OSError, ValueError):
            raise self._died(request["seconds"]) from None
        finally:
            timer.cancel()
        return pixels

    def _died(self, seconds: int) -> TruncatedImageError | ImageTooLargeError:
        try:
            code = self._process.wait(10)
        except subprocess.TimeoutExpired:  # it speaks nonsense, but lives
            self._process.kill()
            code = self._process.wait()
        try:
            how = signal.Signals(-code).name
        except ValueError:
            how = f"exit code {code}"
        if how in ("SIGXCPU", "SIGKILL"):
            return ImageTooLargeError(
                f"decoding it takes more time ({seconds} s of a processor) or memory than the size "
                "in its header explains; leave the file out, or re-export it uncompressed."
            )
        return TruncatedImageError(
            f"its pixels are damaged (their decoder died of them, {how}); fetch the file again."
        )

    def close(self) -> None:
        """End the process, and wait until it has ended."""
        with suppress(OSError):  # what a dead process has not read
            self._to.close()
        self._from.close()
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class _Idle:
    """Processes that wait for a frame, and those of a parent process, which are not to be used."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.workers: list[_Worker] = []
        self.inherited: list[_Worker] = []

    def close(self) -> None:
        while self.workers:
            self.workers.pop().close()

    def after_fork(self) -> None:
        self.lock = threading.Lock()
        self.inherited += self.workers
        self.workers = []


_IDLE = _Idle()
atexit.register(_IDLE.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_IDLE.after_fork)
