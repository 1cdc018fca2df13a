"""Decodes compressed DICOM and TIFF in a process of its own; `hurdles.pixels.frames` starts it.

A script: it imports nothing of hurdles, so that it starts fast, and all libraries at once, before
there is a limit. A request is a line of JSON and the bytes to decode; an answer is a line of JSON
and the pixels' bytes. It ends with its input.
"""

from __future__ import annotations

import io
import json
import math
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL.TiffImagePlugin import TiffImageFile
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder

#: GDCM is asked only where nothing else reads a transfer syntax: JPEG-LS and lossless JPEG.
_PLUGINS = ("pyjpegls", "pylibjpeg", "pillow", "pydicom", "gdcm")
_BASELINE, _EXTENDED = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"


def main() -> None:
    """Answer until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # decoders print
    printed = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process lives
    os.dup2(printed.fileno(), 2)
    while line := sys.stdin.buffer.readline():
        request = json.loads(line)
        content = sys.stdin.buffer.read(request["bytes"])
        _limit(request["seconds"], request["memory"])
        pixels = np.empty(0, dtype=np.uint8)
        try:
            printed.truncate(0)
            pixels = _decode(content, request)
            _refuse_warnings(printed)
            answer: dict[str, Any] = {"shape": pixels.shape, "dtype": pixels.dtype.str}
        except Exception as error:  # decoders fail in many ways on damaged bytes
            pixels = np.empty(0, dtype=np.uint8)
            answer = {"error": str(error) or type(error).__name__}
        answers.write(json.dumps(answer).encode() + b"\n" + np.ascontiguousarray(pixels).tobytes())
        answers.flush()


def _limit(seconds: int, memory: int) -> None:
    """Let the system end this process where a frame takes more than it may, if it can."""
    try:
        import resource
    except ImportError:  # Windows: there is still the clock of the process that asks
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time()) + seconds, hard))
    mapped = Path("/proc/self/statm")
    if mapped.exists():
        now = int(mapped.read_text().split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (now + memory, hard))


def _refuse_warnings(output: BinaryIO) -> None:
    """Refuse what GDCM's libjpeg only warns of, in print: it fills what is missing with gray."""
    output.seek(0)
    text = output.read(500).decode("latin-1")
    if "Corrupt JPEG data" in text:
        raise ValueError(text.splitlines()[0])


def _decode(content: bytes, request: dict[str, Any]) -> np.ndarray:
    """Decode a frame of DICOM or, where the request names one, a page of a TIFF."""
    if "page" not in request:
        return _frame(content, request["syntax"], request["options"])
    number, mode = request["page"], request["mode"]
    if mode is not None:
        image = TiffImageFile(io.BytesIO(content))
        image.seek(number)
        return np.asarray(image.convert(mode) if mode else image)
    # Colors of 16 bits, of which Pillow keeps only the upper byte.
    coded = np.frombuffer(content, dtype=np.uint8)
    read, pages = cv2.imdecodemulti(coded, cv2.IMREAD_UNCHANGED, range=(number, number + 1))
    if not read or len(pages) != 1:
        raise ValueError("its pixels cannot be decoded")
    return np.asarray(pages[0])


def _frame(frame: bytes, syntax: str, options: dict[str, Any]) -> np.ndarray:
    """Decode a compressed frame of DICOM."""
    if syntax in (_BASELINE, _EXTENDED):
        if options["bits_stored"] > 8:
            return _by_gdcm(frame, syntax, options)
        import simplejpeg

        # libjpeg only warns of what is missing, and decoders fill it with gray: refused here.
        if simplejpeg.decode_jpeg_header(frame, strict=True)[2] != "CMYK":
            simplejpeg.decode_jpeg(frame, "GRAY", strict=True)
    decoder = get_decoder(syntax)
    plugin = next((name for name in _PLUGINS if name in decoder.available_plugins), "")
    pixels, _ = decoder.as_array(encapsulate([frame]), decoding_plugin=plugin, **options)
    return np.asarray(pixels)


def _by_gdcm(frame: bytes, syntax: str, options: dict[str, Any]) -> np.ndarray:
    """Decode JPEG Extended of 12 bits, which pydicom does not ask GDCM for."""
    import gdcm

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((options["columns"], options["rows"], 1))
    image.SetDataElement(element)
    meaning = gdcm.PhotometricInterpretation.GetPIType(options["photometric_interpretation"])
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(meaning))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    bits, samples = options["bits_stored"], options["samples_per_pixel"]
    signed = options["pixel_representation"]
    image.SetPixelFormat(gdcm.PixelFormat(samples, 16, bits, bits - 1, signed))
    pixels = image.GetBuffer()
    if pixels is None:
        raise ValueError("GDCM cannot decode them")
    raw = pixels.encode("utf-8", "surrogateescape")
    shape = (options["rows"], options["columns"], samples)[: 2 if samples == 1 else 3]
    return np.frombuffer(raw, dtype="<i2" if signed else "<u2").reshape(shape)


if __name__ == "__main__":
    main()
