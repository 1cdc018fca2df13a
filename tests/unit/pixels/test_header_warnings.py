"""Every warning names its file, in whichever thread it is read."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hurdles.pixels import header
from hurdles.pixels.header import about, notice


@pytest.fixture(autouse=True)
def _nothing_counted() -> Iterator[None]:
    header._counts.clear()
    yield
    header._counts.clear()


def test_a_python_warning_is_logged_with_the_file(caplog: pytest.LogCaptureFixture) -> None:
    with about("a.dcm"):
        warnings.warn("odd value", UserWarning, stacklevel=1)
    assert caplog.messages == ["a.dcm: odd value"]
    with pytest.raises(UserWarning, match="outside"):
        warnings.warn("outside", UserWarning, stacklevel=1)


def test_threads_do_not_mix_their_files(caplog: pytest.LogCaptureFixture) -> None:
    def read(number: int) -> None:
        with about(f"{number}.dcm"):
            warnings.warn(f"odd value {number}", UserWarning, stacklevel=1)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, range(40)))
    assert sorted(caplog.messages) == sorted(f"{n}.dcm: odd value {n}" for n in range(40))
    assert warnings.filters[0][0] == "error"  # as pytest has set it


def test_a_thread_that_reads_no_file_keeps_its_warnings(recwarn: pytest.WarningsRecorder) -> None:
    with about("a.dcm"), ThreadPoolExecutor(1) as pool:
        pool.submit(warnings.warn, "of others", UserWarning, 1).result()
    assert [str(w.message) for w in recwarn] == ["of others"]


def test_of_each_kind_five_files_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "hurdles.data")
    for number in range(7):
        with about(Path(f"{number}.dcm")):
            notice("window", f"its window is {number}")
    assert [r.levelno for r in caplog.records] == [logging.WARNING] * 5 + [logging.DEBUG] * 2
    assert "more files like this are not listed" in caplog.messages[4]
    assert caplog.messages[6] == "6.dcm: its window is 6"
