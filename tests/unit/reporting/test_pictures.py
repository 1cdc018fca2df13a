"""Heat-maps over radiographs, and contact sheets."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from hurdles.reporting.pictures import (
    contact_sheet,
    data_uri,
    heat_fault,
    heat_layer,
    legend_stops,
    overlay,
)


def bump(size: int = 32) -> np.ndarray:
    heat = np.zeros((size, size), "float32")
    heat[4:9, 20:25] = 1
    return heat


def opened(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))))


@pytest.mark.parametrize(
    ("heat", "fault"),
    [
        (None, "no heat-map was made"),
        (np.zeros((4, 4)), "empty"),
        (-np.ones((4, 4)), "empty"),
        (np.full((4, 4), 0.5), "flat"),
        (np.array([[0, np.nan], [np.inf, 1]]), "2 of its 4 values"),
        (np.zeros((0, 4)), "shape"),
        (np.zeros((4, 4, 3)), "shape"),
        (np.eye(4), ""),
    ],
)
def test_faults_are_named(heat, fault: str):
    assert fault in heat_fault(heat)
    assert bool(heat_fault(heat)) == bool(fault)


def test_a_map_with_a_fault_is_not_drawn():
    with pytest.raises(ValueError, match="the heat-map is empty"):
        heat_layer(np.zeros((4, 4), "float32"), (8, 8))


def test_cold_regions_leave_the_radiograph_untouched():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32), dtype="uint8")
    picture = overlay(pixels, bump())
    cold = bump() == 0
    for channel in range(3):
        np.testing.assert_array_equal(picture[..., channel][cold], pixels[cold])
    assert (picture[6, 22, 0] > picture[6, 22, 2]).all()


def test_the_scale_of_a_map_does_not_matter():
    pixels = np.full((32, 32), 90, "uint8")
    np.testing.assert_array_equal(overlay(pixels, bump()), overlay(pixels, 37.5 * bump()))


def test_a_small_map_lands_where_it_belongs():
    heat = np.zeros((8, 4), "float32")
    heat[6, 0] = 1  # low and left
    opacity = heat_layer(heat, (160, 80))[..., 3].astype(float)
    rows, columns = np.indices(opacity.shape)
    assert np.average(rows, weights=opacity) == pytest.approx(6.5 * 20, abs=3)
    assert np.average(columns, weights=opacity) == pytest.approx(0.5 * 20, abs=3)


def test_warmth_rises_evenly_in_lightness():
    ramp = np.linspace(0, 1, 64, dtype="float32")[None].repeat(2, axis=0)
    layer = heat_layer(ramp, (2, 64)).astype(float)
    lightness = layer[0, :, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > 0).all()
    assert (np.diff(layer[0, :, 3]) >= 0).all()


def test_the_legend_ends_where_the_colours_end():
    layer = heat_layer(bump(), (32, 32))
    red, green, blue = layer[6, 22, :3].tolist()
    assert legend_stops()[-1] == f"rgb({red} {green} {blue})"


def test_pictures_survive_the_way_into_a_page():
    pixels = np.linspace(0, 255, 64 * 32).reshape(64, 32).astype("uint8")
    back = opened(data_uri(pixels, "jpeg", longest=256))
    assert back.shape == pixels.shape
    assert np.abs(back.astype(int) - pixels).mean() < 2
    layer = heat_layer(bump(), (32, 32))
    np.testing.assert_array_equal(opened(data_uri(layer, "png", longest=72)), layer)
    assert opened(data_uri(pixels, "jpeg", longest=16)).shape == (16, 8)


def test_a_contact_sheet_shows_each_image_in_its_place():
    shades = [40, 90, 140, 190, 240]
    images = [np.full((20, 20), shade, "uint8") for shade in shades]
    png = contact_sheet(images, [f"nr {s}" for s in shades], columns=2, cell=60)
    page = np.asarray(Image.open(io.BytesIO(png)))
    found = [
        [shade for shade in shades if (page[y : y + 2] == shade).all(axis=2).sum() >= 2 * 60]
        for y in range(0, len(page), 2)
    ]
    rows = [row for i, row in enumerate(found) if row and (not i or found[i - 1] != row)]
    assert rows == [[40, 90], [140, 190], [240]]


def test_a_contact_sheet_keeps_proportions_and_colours():
    tall = np.zeros((40, 20, 3), "uint8")
    tall[..., 0] = 200
    page = np.asarray(Image.open(io.BytesIO(contact_sheet([tall], ["x"], columns=5, cell=80))))
    red = (page == [200, 0, 0]).all(axis=2)
    height, width = red.any(axis=1).sum(), red.any(axis=0).sum()
    assert (height, width) == (80, 40)


def test_captions_are_wrapped_cut_and_may_hold_any_script():
    image = np.zeros((10, 10), "uint8")
    captions = ["Müller, Žofia, Ω, Пётр", "a " * 200, "x" * 500, "", "one\ntwo"]
    page = Image.open(io.BytesIO(contact_sheet([image] * 5, captions, columns=5, cell=90)))
    assert page.height < 90 + 2 * 18 + 4 * 20
    without = Image.open(io.BytesIO(contact_sheet([image] * 5, [""] * 5, columns=5, cell=90)))
    assert without.width == page.width


@pytest.mark.parametrize(
    ("images", "captions", "columns"),
    [([], [], 2), ([np.zeros((4, 4), "uint8")], [], 2), ([np.zeros((4, 4), "uint8")], ["a"], 0)],
)
def test_what_cannot_be_laid_out_is_refused(images, captions, columns: int):
    with pytest.raises(ValueError, match="give at least one image"):
        contact_sheet(images, captions, columns)


def test_floats_are_refused():
    with pytest.raises(ValueError, match=r"an image is float64 of shape \(4, 4\)"):
        contact_sheet([np.zeros((4, 4))], ["a"], 1)
