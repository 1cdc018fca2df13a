"""The fast search finds what comparing every pair finds, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hurdles.copies import similarity
from hurdles.copies.similarity import BITS, GUARANTEED, WORDS, near_pairs


def random_hashes(rng, n):
    return rng.integers(0, 2**64, (n, WORDS), dtype=np.uint64)


def crowded_hashes(rng, n):
    """Return hashes of which many are near: a few centres, some bits of each changed."""
    centres = random_hashes(rng, max(1, n // 6))
    hashes = centres[rng.integers(0, len(centres), n)]
    for row in range(n):
        for bit in rng.choice(BITS, rng.integers(0, 60), replace=False):
            hashes[row, bit // 64] ^= np.uint64(1) << np.uint64(bit % 64)
    hashes[rng.random(n) < 0.3] ^= np.uint64(2**64 - 1)
    return hashes


def slow_pairs(a, b, radius):
    """Compare all pairs, bit by bit, as text."""

    def bits(row):
        return "".join(f"{int(word):064b}" for word in row)

    texts = [bits(row) for row in a], [bits(row) for row in (a if b is None else b)]
    found = []
    for i, one in enumerate(texts[0]):
        for j, two in enumerate(texts[1]):
            if (b is None and i >= j) or "1" not in one or "1" not in two:
                continue
            differ = sum(x != y for x, y in zip(one, two, strict=True))
            if min(differ, BITS - differ) <= radius:
                found.append((i, j, min(differ, BITS - differ), differ > BITS // 2))
    return found


def listed(found):
    columns = (found.a, found.b, found.distance, found.inverted)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@given(st.integers(0, 10**6), st.integers(0, 24), st.integers(0, 24), st.booleans())
@settings(max_examples=40, deadline=None)
def test_each_with_each_is_what_the_slow_way_finds(seed, n, m, crowded):
    rng = np.random.default_rng(seed)
    make = crowded_hashes if crowded else random_hashes
    a, b = make(rng, n), make(rng, m)
    if n and m:
        b[: min(n, m) // 2] = a[: min(n, m) // 2]
    radius = int(rng.integers(0, 128))
    assert listed(near_pairs(a, radius=radius)) == slow_pairs(a, None, radius)
    assert listed(near_pairs(a, b, radius=radius)) == slow_pairs(a, b, radius)


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=12, deadline=None)
def test_bands_find_all_pairs_up_to_the_guarantee(seed, crowded):
    rng = np.random.default_rng(seed)
    make = crowded_hashes if crowded else random_hashes
    a, b = make(rng, 90), make(rng, 60)
    b[:30] = a[:30] ^ (np.uint64(1) << rng.integers(0, 64, (30, WORDS), dtype=np.uint64))
    for other in (None, b):
        exact = near_pairs(a, other, radius=GUARANTEED)
        assert listed(similarity._banded(a, other, GUARANTEED, 1)) == listed(exact)


def test_the_guarantee_is_the_most_that_can_be_given(monkeypatch):
    """Sixteen bands: fifteen bits in fifteen of them leave one untouched, a sixteenth none."""
    monkeypatch.setattr(similarity, "_PARTITIONS", 1)
    one = random_hashes(np.random.default_rng(0), 1)
    for many in (GUARANTEED, GUARANTEED + 1):
        two = one.copy()
        for word, bits in list(similarity._bands())[:many]:
            two[0, word] ^= np.uint64(1) << np.uint64(bits[0])
        found = similarity._banded(np.concatenate([one, two]), None, 48, 1)
        assert len(found) == (1 if many == GUARANTEED else 0)


def test_bands_find_most_pairs_beyond_the_guarantee_and_none_that_is_wrong():
    hashes = crowded_hashes(np.random.default_rng(5), 1200)
    exact, banded = (
        set(listed(f)) for f in (near_pairs(hashes), similarity._banded(hashes, None, 48, 2))
    )
    assert len(exact) > 800
    assert banded <= exact
    assert len(banded) > 0.97 * len(exact)


def test_many_hashes_are_banded(monkeypatch):
    hashes = crowded_hashes(np.random.default_rng(1), 300)
    exact = listed(near_pairs(hashes, radius=GUARANTEED))
    monkeypatch.setattr(similarity, "_EACH_WITH_EACH", 100)
    monkeypatch.setattr(similarity, "_each_with_each", None)
    monkeypatch.setattr(similarity, "_PIECE", 64)  # several pieces, the last not full
    assert listed(near_pairs(hashes, radius=GUARANTEED)) == exact


@given(st.integers(0, 10**6), st.sampled_from([0, 15, 48, 63, 64, 100, 127]), st.booleans())
@settings(max_examples=20, deadline=None)
def test_pairs_of_a_bucket_are_those_that_the_slow_way_finds_there(seed, radius, two_sets):
    rng = np.random.default_rng(seed)
    a, b = crowded_hashes(rng, 40), crowded_hashes(rng, 30) if two_sets else None
    word, bits = next(iter(similarity._bands()))
    found = similarity._collected(similarity._in_buckets(a, b, word, bits, radius))
    keys = [similarity._keys(h[:, word], bits) for h in (a, a if b is None else b)]
    slow = [pair for pair in slow_pairs(a, b, radius) if keys[0][pair[0]] == keys[1][pair[1]]]
    assert listed(found) == slow


def test_the_same_bands_are_used_each_time_whatever_the_threads():
    hashes = crowded_hashes(np.random.default_rng(2), 400)
    assert listed(similarity._banded(hashes, None, 48, 1)) == listed(
        similarity._banded(hashes, None, 48, 3)
    )


@pytest.mark.parametrize("banded", [True, False])
def test_empty_hashes_are_near_nothing(banded, monkeypatch):
    if banded:
        monkeypatch.setattr(similarity, "_EACH_WITH_EACH", -1)
    hashes = np.zeros((5, WORDS), dtype=np.uint64)
    hashes[1] = hashes[4] = random_hashes(np.random.default_rng(0), 1)
    assert listed(near_pairs(hashes)) == [(1, 4, 0, False)]
    assert len(near_pairs(hashes[:1])) == len(near_pairs(hashes[:0])) == 0
    assert len(near_pairs(hashes, hashes[:0])) == 0


def test_wrong_shapes_and_radii_are_refused():
    hashes = random_hashes(np.random.default_rng(0), 3)
    with pytest.raises(ValueError, match=r"shape \(3, 3\).*give uint64, \(N, 4\)"):
        near_pairs(hashes[:, :3])
    with pytest.raises(ValueError, match="type int64"):
        near_pairs(hashes, hashes.astype(np.int64))
    for radius in (-1, 128):
        with pytest.raises(ValueError, match="within 0 to 127 bits"):
            near_pairs(hashes, radius=radius)
