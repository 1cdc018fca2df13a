"""No output destroys an input, or a file that hurdles did not write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hurdles.data.files import outputs, reads, remove, replacing, write_text, writes
from hurdles.errors import OutputError

THEIRS = "three years of work"


@pytest.fixture
def theirs(tmp_path) -> Path:
    (tmp_path / "theirs.csv").write_text(THEIRS)
    return tmp_path / "theirs.csv"


class TestInputs:
    @pytest.mark.parametrize("force", [False, True])
    def test_an_output_that_is_an_input_is_refused_before_the_block(self, theirs, force):
        with (
            pytest.raises(OutputError, match=r"theirs\.csv is read by this command"),
            outputs(theirs, inputs=[theirs], force=force),
        ):
            raise AssertionError("the block was entered")
        assert theirs.read_text() == THEIRS

    def test_an_input_that_is_known_later(self, theirs):
        with outputs(theirs, force=True), pytest.raises(OutputError, match="is read by this"):
            reads([theirs])
        assert theirs.read_text() == THEIRS

    def test_what_was_not_announced_replaces_no_input_either(self, theirs):
        with outputs(inputs=[theirs]), pytest.raises(OutputError, match="is read by"):
            write_text(theirs, "ours")
        assert theirs.read_text() == THEIRS

    @pytest.mark.parametrize("link", [os.symlink, os.link])
    def test_by_another_name(self, theirs, tmp_path, link):
        link(theirs, tmp_path / "link.csv")
        with (
            pytest.raises(OutputError, match=r"link\.csv is read by"),
            outputs(tmp_path / "link.csv", inputs=[theirs], force=True),
        ):
            pass

    def test_by_another_way(self, theirs, tmp_path, monkeypatch):
        (tmp_path / "sub").mkdir()
        monkeypatch.chdir(tmp_path / "sub")
        with (
            pytest.raises(OutputError, match="is read by"),
            outputs("../theirs.csv", inputs=[theirs]),
        ):
            pass

    def test_a_file_that_has_the_inode_of_an_input_that_is_gone(self, theirs, tmp_path):
        ours = tmp_path / "ours.csv"
        with outputs(inputs=[theirs]):
            write_text(ours, "before")
            write_text(ours, "and after")  # what is read is known by its inode now
            theirs.rename(ours)  # as a file system gives it to the next file
            write_text(ours, "last")
        assert ours.read_text() == "last"

    def test_the_same_content_may_be_written(self, theirs):
        with outputs(inputs=[theirs]):
            write_text(theirs, THEIRS)

    def test_outside_of_a_verb_nothing_is_guarded(self, theirs):
        with outputs(inputs=[theirs]):
            pass
        write_text(theirs, "ours")
        assert theirs.read_text() == "ours"


class TestFilesThatHurdlesDidNotWrite:
    def test_are_refused_before_the_block_and_named(self, theirs):
        with (
            pytest.raises(
                OutputError, match=r"theirs\.csv is there, and hurdles did not write it.*--force"
            ),
            outputs(theirs),
        ):
            raise AssertionError("the block was entered")

    def test_are_replaced_by_force(self, theirs):
        with outputs(theirs, force=True):
            write_text(theirs, "ours")
        assert theirs.read_text() == "ours"

    def test_what_hurdles_wrote_is_replaced(self, tmp_path):
        for text in ("first", "second"):
            with outputs(tmp_path / "a.csv"):
                write_text(tmp_path / "a.csv", text)
        assert (tmp_path / "a.csv").read_text() == "second"

    @pytest.mark.parametrize("renamed", [False, True])
    def test_what_a_killed_process_wrote_is_replaced(self, tmp_path, monkeypatch, renamed):
        replace = Path.replace

        def killed(part, target):
            if renamed:
                replace(part, target)
            raise KeyboardInterrupt

        with outputs(tmp_path / "a.csv"):
            write_text(tmp_path / "a.csv", "first")
        monkeypatch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt), outputs(tmp_path / "a.csv"):
            write_text(tmp_path / "a.csv", "second")
        monkeypatch.undo()
        assert (tmp_path / "a.csv").read_text() == ("second" if renamed else "first")
        with outputs(tmp_path / "a.csv"):
            write_text(tmp_path / "a.csv", "third")

    def test_what_was_changed_since_is_the_users(self, tmp_path):
        with outputs(tmp_path / "a.csv"):
            write_text(tmp_path / "a.csv", "ours")
        (tmp_path / "a.csv").write_text("ours, corrected by hand")
        with (
            pytest.raises(OutputError, match="or it was changed since"),
            outputs(tmp_path / "a.csv"),
        ):
            pass

    def test_one_that_comes_meanwhile(self, tmp_path):
        with outputs(tmp_path / "a.csv"):
            (tmp_path / "a.csv").write_text(THEIRS)
            with pytest.raises(OutputError, match="hurdles did not write it"):
                write_text(tmp_path / "a.csv", "ours")
        assert (tmp_path / "a.csv").read_text() == THEIRS

    def test_in_a_folder_of_which_the_names_are_not_known_before(self, theirs, tmp_path):
        with outputs(folders=[tmp_path]):
            write_text(tmp_path / "mine.csv", "ours")
            write_text(tmp_path / "mine.csv", "ours again")
            with pytest.raises(OutputError, match="hurdles did not write it"):
                write_text(theirs, "ours")

    def test_are_not_removed(self, theirs, tmp_path):
        with outputs(folders=[tmp_path]):
            remove(theirs)
            write_text(tmp_path / "ours.csv", "ours")
            remove(tmp_path / "ours.csv")
        assert list(tmp_path.iterdir()) == [theirs]

    def test_without_a_place_to_remember_force_is_asked_for(self, tmp_path, monkeypatch):
        (tmp_path / "file").write_text("no folder")
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
        with outputs(tmp_path / "a.csv"):
            write_text(tmp_path / "a.csv", "ours")
        with pytest.raises(OutputError, match="--force"), outputs(tmp_path / "a.csv"):
            pass


def test_one_name_for_two_outputs_is_refused(tmp_path):
    with pytest.raises(OutputError, match="written twice"), outputs(tmp_path / "a", tmp_path / "a"):
        pass


def test_announcing_outside_of_a_verb_does_nothing(theirs):
    writes(theirs)
    reads([theirs])


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_not_replaced(tmp_path, make):
    make(tmp_path / "a.csv")
    with pytest.raises(OutputError, match="give the name of a file"), outputs(tmp_path / "a.csv"):
        pass
    with pytest.raises(OutputError, match="give the name of a file"):
        write_text(tmp_path / "a.csv", "ours")


def test_a_place_that_cannot_be_written_is_a_sentence(theirs):
    with pytest.raises(OutputError, match=r"sub.* cannot be written \(.*\); free some space"):
        write_text(theirs / "sub" / "a.csv", "ours")


def test_a_folder_that_is_a_file_is_refused_before_anything_is_computed(theirs):
    place = theirs / "sub" / "a.csv"
    with pytest.raises(OutputError, match=r"theirs.csv is a file; name a folder"), outputs(place):
        pytest.fail("it was computed")


class TestParts:
    def test_of_a_dead_writer_is_swept_and_of_a_living_one_stays(self, tmp_path):
        with replacing(tmp_path / "a.csv") as part:
            part.write_text("x")
            host, number, rest = part.name.removesuffix(".part").rpartition(".")[2].split("-")
            dead = tmp_path / f".b.csv.{host}-{2**22 + 1}-{rest}.part"
            elsewhere = tmp_path / f".b.csv.{'0' * 8}-{2**22 + 1}-{rest}.part"
            before = tmp_path / f".b.csv.{host}-{number}-00000000.part"  # the number came again
            parent = tmp_path / f".b.csv.{host}-{os.getppid()}-{rest}.part"
            for each in (dead, elsewhere, before, parent):
                each.write_text("half")
        from hurdles.data.files import sweep

        sweep(tmp_path)
        assert set(tmp_path.iterdir()) == {tmp_path / "a.csv", elsewhere, parent}
