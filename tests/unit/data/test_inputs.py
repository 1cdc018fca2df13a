"""Inputs by their SHA-256: what they are the hash of, and what the digest of a result notices."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hurdles.data.inputs import Input, Role, digest
from hurdles.data.reading import read_manifest
from hurdles.phantom import write_phantom
from hurdles.pixels import cache
from hurdles.pixels.cache import contents_of
from hurdles.runs.inputs import image_inputs

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
OBJECTS = st.dictionaries(st.text(min_size=1), JSON, max_size=5)


@given(OBJECTS)
def test_a_digest_survives_a_file_and_the_order_of_keys(plain):
    turned = dict(reversed(plain.items()))
    assert digest(json.loads(json.dumps(turned, indent=3))) == digest(plain)
    assert digest({**plain, "digest": "any", "report": "r.html"}) == digest(
        {k: v for k, v in plain.items() if k not in ("digest", "report", "written")}
    )


@given(OBJECTS, st.text(min_size=1).filter(lambda key: key not in ("digest", "report", "written")))
def test_a_digest_notices_a_key_that_is_added_or_changed(plain, key):
    one, two = {**plain, key: 1}, {**plain, key: "1"}
    assert digest(one) != digest(two)
    assert digest(one) != digest({k: v for k, v in plain.items() if k != key})


@pytest.fixture
def phantom(tmp_path):
    write_phantom(tmp_path / "phantom", 6, seed=1, size=64)
    return read_manifest(tmp_path / "phantom")


def test_images_are_hashed_as_the_shell_would(phantom, tmp_path):
    """``sha256sum FILES | cut -d' ' -f1 | sort | sha256sum`` gives the same."""
    if shutil.which("sha256sum") is None:
        pytest.skip("there is no sha256sum here")
    images, rows = image_inputs({"six": phantom}, cache=tmp_path / "cache")
    command = "sha256sum \"$@\" | cut -d' ' -f1 | LC_ALL=C sort | sha256sum"
    done = subprocess.run(
        ["sh", "-c", command, "sh", *phantom.frame["path"]], capture_output=True, check=True
    )
    assert images == Input(Role.IMAGES, "six", done.stdout.decode().split()[0], len(phantom))
    assert rows == Input(Role.ROWS, "six", phantom.content_hash, len(phantom))


def test_what_the_cache_has_hashed_is_not_read_again(phantom, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_SETTLED_NS", -(10**15))  # as if the files were old
    first = contents_of(phantom, cache=tmp_path / "cache")

    def refuse(path):
        raise AssertionError(f"{path} is read again")

    with monkeypatch.context() as patch:
        patch.setattr(cache, "file_hash", refuse)
        assert contents_of(phantom, cache=tmp_path / "cache") == first
    paths = map(Path, phantom.frame["path"])
    assert first == [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def test_a_changed_image_changes_the_digest_and_a_new_name_does_not(phantom, tmp_path):
    before, _ = image_inputs({"six": phantom}, cache=tmp_path / "cache")
    frame = phantom.frame.copy()
    moved = tmp_path / "other name.png"
    shutil.copy(frame["path"][0], moved)
    frame.loc[0, "path"] = str(moved)
    renamed = type(phantom)(frame, phantom.exclusions)
    assert next(image_inputs({"six": renamed}, cache=tmp_path / "cache")) == before
    moved.write_bytes(moved.read_bytes() + b"\0")
    changed = next(image_inputs({"six": renamed}, cache=tmp_path / "cache"))
    assert (changed.n, changed.sha256 != before.sha256) == (before.n, True)


def test_a_file_that_cannot_be_opened_does_not_count(phantom, tmp_path):
    frame = phantom.frame.copy()
    frame.loc[0, "path"] = str(tmp_path / "gone.png")
    there = type(phantom)(frame, phantom.exclusions)
    assert next(image_inputs({"six": there}, cache=tmp_path / "cache")).n == len(phantom) - 1


def test_an_input_names_no_place_and_can_be_read_back(tmp_path):
    (tmp_path / "p.csv").write_text("a\n")
    one = Input.of_file("predictions", tmp_path / "p.csv")
    assert one.name == "p.csv"
    assert one.sha256 == hashlib.sha256(b"a\n").hexdigest()
    assert Input.from_dict(json.loads(json.dumps(one.to_dict()))) == one
    assert "n" not in one.to_dict()
    with pytest.raises(ValueError, match="'model-weights' is not a valid Role"):
        Input("model-weights", "x", "0" * 64)
