"""Files are whole or absent, whatever happens to the writer."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from hurdles.data.files import (
    file_hash,
    read_sealed,
    replacing,
    write_bytes,
    write_sealed,
    write_text,
)


def test_text_is_utf8_with_the_newlines_given(tmp_path):
    write_text(tmp_path / "a.txt", "Röntgen\r\nbild\n")
    assert (tmp_path / "a.txt").read_bytes() == b"R\xc3\xb6ntgen\r\nbild\n"


def test_folders_are_made_and_nothing_else_is_left(tmp_path):
    write_bytes(tmp_path / "späte Bilder" / "b" / "c.bin", b"\x00")
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["c.bin"]


def test_a_failing_writer_leaves_the_old_file_and_no_rest(tmp_path):
    target = tmp_path / "a.txt"
    write_text(target, "old")

    def half() -> None:
        with replacing(target) as part:
            part.write_text("half of the n")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_writer_that_writes_nothing_is_an_error_and_keeps_the_old_file(tmp_path):
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(FileNotFoundError, match=r"\.part"), replacing(target):
        pass
    assert target.read_text() == "old"


def test_a_killed_writer_leaves_the_target_whole(tmp_path):
    target = tmp_path / "a.txt"
    write_text(target, "old")
    program = """
        import sys, time
        from hurdles.data.files import replacing
        with replacing(sys.argv[1]) as part:
            handle = part.open("w")
            handle.write("half of the n")
            handle.flush()
            print("writing", flush=True)
            time.sleep(60)
    """
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(target)], stdout=subprocess.PIPE
    )
    with writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        os.kill(writer.pid, signal.SIGKILL)
    assert target.read_text() == "old"
    (rest,) = set(tmp_path.iterdir()) - {target}
    assert rest.name.startswith(".a.txt.")
    assert rest.name.endswith(".part")
    write_text(target, "new")
    assert target.read_text() == "new"


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path):
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with replacing(target) as part:
        part.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    target = tmp_path / "a.txt"
    with replacing(target) as one, replacing(target) as two:
        one.write_text("one")
        two.write_text("two")
    assert target.read_text() == "one"  # the outer block ends last
    assert list(tmp_path.iterdir()) == [target]


def test_the_temporary_file_is_on_the_same_disk(tmp_path):
    with replacing(tmp_path / "a.txt") as part:
        part.write_text("x")
        assert part.parent == tmp_path


def test_the_disk_is_waited_for_unless_that_is_declined(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    write_bytes(tmp_path / "a.bin", b"1")
    write_sealed(tmp_path / "a.json", [1])
    assert len(synced) == 2
    write_sealed(tmp_path / "b.json", [1], synced=False)
    assert len(synced) == 2
    assert read_sealed(tmp_path / "b.json") == [1]


def test_file_hash_is_that_of_the_content(tmp_path):
    path: Path = tmp_path / "a.bin"
    write_bytes(path, bytes(range(256)) * 9999)
    assert file_hash(path) == hashlib.sha256(path.read_bytes()).hexdigest()
