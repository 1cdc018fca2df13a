"""Pipes, devices, sockets, strange names: exclusions by name; nothing hangs, nothing stops."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pandas as pd
import pytest

from hurdles.data.files import expanded
from hurdles.data.folder import manifest_from_folder
from hurdles.data.manifest import Manifest
from hurdles.data.reading import read_manifest
from hurdles.errors import HurdlesError
from hurdles.phantom.cohort import write_phantom
from hurdles.pixels.cache import prepare
from hurdles.pixels.prepare import Preparation

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has none of these files")


def test_of_a_table_they_are_exclusions_with_the_reason(tmp_path):
    good = write_phantom(tmp_path / "ph", 2, seed=1, size=32).frame["path"].iloc[0]
    os.mkfifo(tmp_path / "pipe.png")
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(tmp_path / "socket.png"))
        strange = [
            str(tmp_path / "pipe.png"),
            str(tmp_path / "socket.png"),
            os.devnull,
            str(tmp_path),
            "nul\0byte.png",
            "~nobody-here/a.png",
        ]
        paths = [good, *strange]
        images = Manifest(pd.DataFrame({"image": paths, "path": paths, "label": "x"}))
        prepared = prepare(images, Preparation(16), cache=tmp_path / "cache")
    assert prepared.manifest.frame["path"].tolist() == [good]
    assert set(prepared.failures) == set(strange)
    assert "no plain file" in str(prepared.failures[str(tmp_path / "pipe.png")])


def test_of_a_folder_they_are_exclusions_with_the_reason(tmp_path):
    write_phantom(tmp_path / "ph", 4, seed=1, size=32)
    folder = next(p for p in (tmp_path / "ph").iterdir() if p.is_dir() and p.name != "masks")
    os.mkfifo(folder / "pipe.png")
    unspelt = os.path.join(os.fsencode(folder), b"r\xf6ntgen.png")  # noqa: PTH118 - bytes
    Path(os.fsdecode(unspelt)).write_bytes(b"any")
    (tmp_path / "ph" / "manifest.csv").unlink()
    found = manifest_from_folder(tmp_path / "ph")
    reasons = dict(zip(found.exclusions["path"], found.exclusions["reason"], strict=True))
    assert reasons[str(folder / "pipe.png")] == "not a plain file"
    assert reasons[str(folder / "r\\udcf6ntgen.png")] == "its name is not UTF-8; rename it"
    assert Manifest.load(found.save(tmp_path / "m.csv")).exclusions["path"].notna().all()


def test_a_user_that_is_not_there_is_a_plain_error():
    assert expanded("~nobody-here/a") == Path("~nobody-here/a")
    with pytest.raises(HurdlesError, match="nobody-here"):
        read_manifest("~nobody-here/a.csv")
