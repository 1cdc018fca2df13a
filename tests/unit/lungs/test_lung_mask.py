"""Cleaning and judging: what leaves `clean` looks like two lungs, or says why it does not."""

from __future__ import annotations

import itertools
from collections import deque

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hurdles.lungs import mask as plausibility
from hurdles.lungs.mask import BOUNDS, Bound, LungMask, clean, flaw_of, measures
from hurdles.pixels.prepare import stretched

RADIUS = 3


def blank() -> NDArray[np.float32]:
    return np.zeros((256, 256), dtype=np.float32)


#: Outline of a lung from 0 (towards the spine, top) to 1 (towards the ribs, bottom).
OUTLINE = np.array(
    [(0.1, 0.1), (0.3, 0), (0.55, 0.04), (0.9, 0.5), (1, 1), (0.55, 0.85), (0, 0.85)]
)


def lung(
    image: NDArray[np.float32], left: int, right: int, top: int, bottom: int
) -> NDArray[np.float32]:
    """Draw a lung into a box; one on the right of the image where `left` is less than `right`."""
    corners = OUTLINE * (right - left, bottom - top) + (left, top)
    return np.asarray(cv2.fillPoly(image, [np.rint(corners).astype(np.int32)], 1.0))


def lungs() -> NDArray[np.float32]:
    return lung(lung(blank(), 110, 40, 45, 195), 148, 215, 48, 190)


def disc() -> list[tuple[int, int]]:
    reach = range(-RADIUS, RADIUS + 1)
    return [(y, x) for y in reach for x in reach if y * y + x * x <= RADIUS * RADIUS + 1]


def parts_of(mask: NDArray[np.bool_]) -> list[set[tuple[int, int]]]:
    """Return the parts, pixels that touch at a corner being one, by walking."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    parts = []
    while left:
        queue, part = deque([left.pop()]), set()
        while queue:
            y, x = queue.popleft()
            part.add((y, x))
            near = {(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            queue.extend(near)
        parts.append(part)
    return parts


def filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill what a walk over edges from outside cannot reach."""
    height, width = mask.shape
    reached, queue = {(-1, -1)}, deque([(-1, -1)])
    while queue:
        y, x = queue.popleft()
        for step in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
            inside = 0 <= step[0] < height and 0 <= step[1] < width
            near = -1 <= step[0] <= height and -1 <= step[1] <= width
            if near and step not in reached and not (inside and mask[step]):
                reached.add(step)
                queue.append(step)
    pixels = itertools.product(range(height), range(width))
    return np.array([p not in reached for p in pixels]).reshape(mask.shape)


def slowly_opened(probability: NDArray[np.float32]) -> list[set[tuple[int, int]]]:
    """All parts, the largest first, before `clean` keeps two: a disc fits, or it does not."""
    binary = probability >= 0.5
    height, width = binary.shape
    opened = np.zeros_like(binary)
    for y, x in itertools.product(range(height), range(width)):
        spots = [(y + i, x + j) for i, j in disc() if 0 <= y + i < height and 0 <= x + j < width]
        if all(binary[spot] for spot in spots):
            for spot in spots:
                opened[spot] = True
    return sorted(parts_of(filled(opened)), key=len, reverse=True)


@st.composite
def fields(draw: st.DrawFn, side: int = 48) -> NDArray[np.float32]:
    """Blobs, bridges, holes, specks and noise: more than a network would ever come up with."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    field = rng.random((side, side))
    field = cv2.GaussianBlur(field, (0, 0), draw(st.floats(0.5, 6)))
    field = (field - field.mean()) / field.std()
    share = draw(st.floats(0.05, 0.95))
    above = (field > np.quantile(field, 1 - share)).astype(np.float32)
    if draw(st.booleans()):
        above = np.maximum(above, rng.random((side, side)) < draw(st.floats(0, 0.2)))
    return np.asarray(above, dtype=np.float32)


# --- cleaning ------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(fields(side=24))
def test_cleaning_is_what_its_slow_twin_does(field):
    parts = slowly_opened(field)
    mask = clean(field).mask
    assert sorted(map(len, parts_of(mask)), reverse=True) == list(map(len, parts[:2]))
    # Of a second and a third part that are equally large either may stay.
    if len(parts) < 3 or len(parts[1]) > len(parts[2]):
        assert {tuple(spot) for spot in np.argwhere(mask)} == set().union(*parts[:2])


@settings(max_examples=150, deadline=None)
@given(fields())
def test_cleaning_again_changes_nothing(field):
    once = clean(field)
    again = clean(once.mask.astype(np.float32))
    assert (again.mask == once.mask).all()
    assert (again.flaw, again.parts) == (once.flaw, once.parts)


@settings(max_examples=40, deadline=None)
@given(fields())
def test_at_most_two_parts_are_left_and_no_hole(field):
    found = clean(field)
    parts = parts_of(found.mask)
    assert len(parts) == len(found.parts) <= 2
    assert sorted(len(p) / field.size for p in parts) == pytest.approx(sorted(found.parts))
    assert (filled(found.mask) == found.mask).all()


@settings(max_examples=50, deadline=None)
@given(fields())
def test_a_mirrored_image_gives_the_mirrored_mask(field):
    found, mirrored = clean(field), clean(np.ascontiguousarray(field[:, ::-1]))
    assert sorted(mirrored.parts) == pytest.approx(sorted(found.parts))
    # Of parts of one size on both sides of the middle neither is better.
    sizes = sorted(map(len, parts_of(slow_parts(field))), reverse=True)
    if len(set(sizes[:3])) == len(sizes[:3]):
        assert (mirrored.mask == found.mask[:, ::-1]).all()
        assert mirrored.parts == found.parts[::-1]
        assert mirrored.flaw == found.flaw


def slow_parts(field: NDArray[np.float32]) -> NDArray[np.bool_]:
    disc_array = np.zeros((7, 7), np.uint8)
    for y, x in disc():
        disc_array[y + RADIUS, x + RADIUS] = 1
    binary = (field >= 0.5).astype(np.uint8)
    return filled(cv2.morphologyEx(binary, cv2.MORPH_OPEN, disc_array).astype(bool))


def test_two_lungs_stay_as_they_are():
    found = clean(lungs())
    assert found.is_plausible
    assert (found.mask == (lungs() >= 0.5)).mean() > 0.999
    assert found.box == pytest.approx((45, 196, 40, 216), abs=5)  # the tips are thinner than lungs


def test_a_bridge_is_cut_a_hole_filled_and_specks_dropped():
    dirty = lungs()
    dirty[118:122, 95:155] = 1  # a bridge of four pixels
    dirty[110:130, 75:95] = 0  # a white patch
    cv2.circle(dirty, (128, 235), 10, 1, -1)  # the stomach
    found = clean(dirty)
    assert found.is_plausible
    assert (found.mask == clean(lungs()).mask).mean() > 0.998
    assert found.mask[110:130, 75:95].all()
    assert not found.mask[225:245, 118:138].any()


def test_what_is_not_a_number_is_not_lung():
    broken = lungs()
    broken[:, 128:] = np.nan
    assert "one part only" in clean(broken).flaw
    assert clean(np.full((256, 256), np.nan, np.float32)).flaw == "empty: no lung was found"


@pytest.mark.parametrize("shape", [(1, 256, 256), (256,), (0, 256)])
def test_only_an_image_can_be_cleaned(shape):
    with pytest.raises(ValueError, match=r"have shape .*; give one image"):
        clean(np.zeros(shape, dtype=np.float32))


# --- judging -------------------------------------------------------------------------------------


def pair(*boxes: tuple[int, int, int, int]) -> NDArray[np.float32]:
    field = blank()
    for box in boxes:
        lung(field, *box)
    return field


def belly() -> NDArray[np.float32]:
    return np.asarray(cv2.ellipse(blank(), (128, 190), (90, 50), 0, 0, 360, 1, -1))


def mirrored_pair(*corners: tuple[int, int]) -> NDArray[np.float32]:
    field = np.asarray(cv2.fillPoly(blank(), [np.array(corners)], 1))
    return np.maximum(field, field[:, ::-1])


def hooked() -> NDArray[np.float32]:
    """As in a side view: one part reaches below the other."""
    field = lung(blank(), 130, 245, 40, 195)
    hook = [(115, 40), (95, 40), (35, 120), (10, 250), (205, 222), (205, 205), (115, 205)]
    return np.asarray(cv2.fillPoly(field, [np.array(hook)], 1))


def crescents() -> NDArray[np.float32]:
    field = pair((124, 10, 15, 245), (132, 246, 15, 245))
    return np.asarray(cv2.ellipse(field, (128, 140), (95, 80), 0, 0, 360, 0, -1))


def ovals() -> NDArray[np.float32]:
    """As in an axial slice: no apex, no base."""
    field = blank()
    for column in (70, 186):
        cv2.ellipse(field, (column, 120), (40, 70), 0, 0, 360, 1, -1)
    return field


def huge() -> NDArray[np.float32]:
    return mirrored_pair((125, 3), (50, 3), (3, 100), (3, 252), (90, 252), (125, 215))


def cropped() -> NDArray[np.float32]:
    return mirrored_pair((95, 30), (60, 30), (0, 110), (0, 255), (50, 255), (95, 190))


FAULTS = {
    "nothing": (blank(), "empty"),
    "everything": (blank() + 1, "one part only"),
    "a belly": (belly(), "one part only"),
    "a lung alone": (pair((110, 40, 45, 195)), "one part only"),
    "a lung and a rest": (pair((110, 30, 40, 200), (148, 190, 60, 145)), "one-sided"),
    "one above the other": (pair((60, 200, 10, 120), (200, 60, 135, 245)), "lie side by side"),
    "one below the other": (hooked(), "lie side by side"),
    "one higher than the other": (pair((110, 40, 20, 140), (148, 215, 90, 220)), "is level with"),
    "small": (pair((110, 75, 60, 150), (148, 180, 60, 150)), "too small"),
    "flat": (pair((120, 5, 60, 125), (136, 250, 60, 125)), "of the image's height"),
    "huge": (huge(), "too large"),
    "at the border": (cropped(), "touches the border"),
    "crescents": (crescents(), "ragged"),
    "upside down": (lungs()[::-1], "not a frontal view"),
    "a slice": (ovals(), "not a frontal view"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_flagged_by_name(fault):
    field, words = FAULTS[fault]
    found = clean(field)
    assert not found.is_plausible
    assert words in found.flaw


def test_every_bound_has_a_fault_that_only_it_catches(monkeypatch):
    needless = []
    for name, bound in BOUNDS.items():
        for side in ("low", "high"):
            if not (bound.below if side == "low" else bound.above):
                continue
            wider = {"low": -2.0, "high": 2.0}
            open_bound = Bound(
                **{**vars(bound), side: wider[side]}  # the guard taken away
            )
            with monkeypatch.context() as patch:
                patch.setitem(plausibility.BOUNDS, name, open_bound)
                missed = [fault for fault, (field, _) in FAULTS.items() if not clean(field).flaw]
            if not missed:
                needless.append((name, side))
    assert needless == []


def test_a_flaw_says_the_number_and_the_bound():
    flaw = clean(FAULTS["a lung and a rest"][0]).flaw
    assert flaw == "one-sided: the smaller part has 29 % of the larger one's area, less than 35 %"


def test_a_bound_includes_its_ends():
    bound = Bound(0.2, 0.8, "low {value} {bound}", "high {value} {bound}")
    assert [bound.flaw(v) for v in (0.2, 0.5, 0.8)] == ["", "", ""]
    assert bound.flaw(0.1) == "low 10 % 20 %"
    assert bound.flaw(0.9) == "high 90 % 80 %"


@settings(max_examples=40, deadline=None)
@given(fields())
def test_measures_are_shares_and_do_not_know_left_from_right(field):
    labels = [np.zeros(field.shape, bool) for _ in range(2)]
    parts = parts_of(clean(field).mask)
    if len(parts) < 2:
        return
    for part, label in zip(parts, labels, strict=True):
        for spot in part:
            label[spot] = True
    found = measures(*labels)
    assert set(found) == set(BOUNDS)
    lean = found["lean"]
    assert all(0 <= value <= 1 for value in (found | {"lean": lean / 2 + 0.5}).values()), found
    assert measures(*(label[:, ::-1] for label in labels[::-1])) == pytest.approx(found)


def test_measures_of_rectangles_are_those_of_a_ruler():
    left, right = np.zeros((2, 100, 100), bool)
    left[10:60, 0:30] = True  # 50 x 30
    right[40:80, 20:60] = True  # 40 x 40
    found = measures(left, right)
    expected = {"area": 0.31, "balance": 1500 / 1600, "beside": 1 - 10 / 30, "level": 20 / 40,
                "height": 0.4, "solidity": 1.0, "border": 50 / 400, "lean": 0.0}  # fmt: skip
    assert found == pytest.approx(expected)


def test_flaws_of_parts_can_be_asked_without_cleaning():
    assert flaw_of([lungs()[:, :] >= 0.5]).startswith("one part only")


def test_an_empty_mask_has_an_empty_box():
    assert LungMask(np.zeros((4, 4), bool), "empty", ()).box == (0, 0, 0, 0)
    assert LungMask(np.zeros((4, 4), bool), "empty", ()).area == 0


# --- stretching ----------------------------------------------------------------------------------


def slowly_stretched(mask: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """One axis at a time, by the definition: means of areas, or values between two pixels."""
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1, borderType=cv2.BORDER_REPLICATE)
    for axis, size in enumerate(shape):
        soft = np.apply_along_axis(resampled, axis, soft.astype(np.float64), size)
    return np.asarray(soft > 0.5)


def resampled(values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    scale = len(values) / size
    if scale > 1:
        edges = np.arange(len(values) + 1)
        cells = [(i * scale, (i + 1) * scale) for i in range(size)]
        overlaps = [np.clip(np.minimum(edges[1:], b) - np.maximum(edges[:-1], a), 0, None)
                    for a, b in cells]  # fmt: skip
        return np.array([(o * values).sum() / o.sum() for o in overlaps])
    return np.interp((np.arange(size) + 0.5) * scale - 0.5, np.arange(len(values)), values)


@settings(max_examples=40, deadline=None)
@given(fields(side=24), st.integers(1, 70), st.integers(1, 70))
def test_stretching_is_what_its_slow_twin_does(field, height, width):
    mask = field >= 0.5
    fast, slow = stretched(mask, (height, width)), slowly_stretched(mask, (height, width))
    if (height, width) == mask.shape:
        slow = mask
    # OpenCV's weights have 11 bits: a value of one half to four digits may fall on either side.
    assert (fast != slow).mean() <= 0.01


@pytest.mark.parametrize("shape", [(1024, 1024), (100, 2000), (256, 300), (37, 20)])
def test_area_and_place_survive_stretching(shape):
    mask = clean(lungs()).mask
    found = stretched(mask, shape)
    assert found.shape == shape
    assert found.dtype == bool
    assert found.mean() == pytest.approx(mask.mean(), rel=0.03)
    centres = [(np.argwhere(each).mean(0) + 0.5) / each.shape for each in (found, mask)]
    assert centres[0] == pytest.approx(centres[1], abs=0.01)


def test_an_edge_becomes_no_staircase():
    def circle(side: int) -> NDArray[np.bool_]:
        rows, columns = (np.indices((side, side)) + 0.5) / side
        return np.hypot(rows - 0.51, columns - 0.49) <= 0.235

    ours = stretched(circle(256), (1024, 1024)) != circle(1024)
    blocky = circle(256).repeat(4, 0).repeat(4, 1) != circle(1024)
    assert ours.sum() < 0.6 * blocky.sum()


def test_the_same_shape_is_a_copy():
    mask = clean(lungs()).mask
    copy = stretched(mask, (256, 256))
    assert (copy == mask).all()
    copy[:] = False
    assert mask.any()


@pytest.mark.parametrize("shape", [(0, 5), (5, 0)])
def test_no_mask_has_no_rows_or_columns(shape):
    with pytest.raises(ValueError, match="at least one row and one column"):
        stretched(np.ones((4, 4), bool), shape)
