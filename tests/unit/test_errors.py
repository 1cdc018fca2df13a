"""The exception tree: caught as what it is, whole after a trip between processes."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from hurdles import errors
from hurdles.errors import HurdlesError, ImageError, ManifestError, SplitError

CLASSES = [getattr(errors, name) for name in errors.__all__]
IMAGE_ERRORS = [c for c in CLASSES if issubclass(c, ImageError)]


def test_every_error_of_the_module_is_public():
    here = {n: c for n, c in vars(errors).items() if isinstance(c, type)}
    defined = {n for n, c in here.items() if c.__module__ == errors.__name__}
    assert defined == set(errors.__all__)


def test_every_error_is_drawn_in_the_tree():
    for name in errors.__all__:
        assert name in errors.__doc__


@pytest.mark.parametrize("error", CLASSES)
def test_every_error_is_also_a_builtin_that_callers_catch(error):
    assert issubclass(error, HurdlesError)
    assert error is HurdlesError or issubclass(error, (ValueError, OSError))


def test_a_bad_split_is_a_bad_manifest():
    assert issubclass(SplitError, ManifestError)


@pytest.mark.parametrize("error", CLASSES)
def test_every_error_survives_pickling(error):
    again = pickle.loads(pickle.dumps(error("something is wrong; mend it")))
    assert type(again) is error
    assert str(again) == "something is wrong; mend it"


@pytest.mark.parametrize("error", IMAGE_ERRORS)
def test_the_path_stands_in_the_message_and_survives_pickling(error):
    one = error("the file ends early.", "späte Bilder/a b.png")
    again = pickle.loads(pickle.dumps(one))
    for each in (one, again):
        assert each.path == Path("späte Bilder/a b.png")
        assert str(each) == "späte Bilder/a b.png: the file ends early."


def test_the_path_can_be_attached_on_the_way_out():
    error = ImageError("the file ends early.")
    assert (error.path, str(error)) == (None, "the file ends early.")
    error.path = Path("a.png")
    assert str(pickle.loads(pickle.dumps(error))) == "a.png: the file ends early."


def _fail(path: str) -> None:
    raise errors.TruncatedImageError("the file ends early.", path)


def test_a_worker_process_hands_the_path_back():
    with (
        ProcessPoolExecutor(1) as pool,
        pytest.raises(errors.TruncatedImageError, match=r"^a\.png: the file ends early\.$"),
    ):
        pool.submit(_fail, "a.png").result()
