"""Sets made of sets: what is kept, what is drawn, and that no patient stands in two parts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hurdles.data.manifest import Manifest
from hurdles.data.sets import (
    Links,
    apart,
    balanced,
    completed,
    gathered,
    joined,
    one_against_rest,
    relabeled,
    sampled,
)
from hurdles.errors import ManifestError


def manifest(labels, patients=None, *, source="s", split=None) -> Manifest:
    """Return images of one source, numbered."""
    n = len(labels)
    names = [f"i{k}" for k in range(n)]
    return Manifest(
        pd.DataFrame(
            {
                "image": [f"{source}/{name}" for name in names],
                "path": [f"/{source}/{name}" for name in names],
                "label": list(labels),
                "patient": list(patients) if patients is not None else names,
                "source": source,
                "split": split if split is None or isinstance(split, str) else list(split),
            }
        )
    )


def images(m: Manifest) -> list[str]:
    return m.frame["image"].tolist()


class TestRelabeled:
    def test_classes_are_renamed_left_out_or_kept(self):
        m = relabeled(manifest("abc"), {"a": "x", "b": ""})
        assert m.frame["label"].tolist() == ["x", "c"]
        assert m.exclusions["reason"].tolist() == ["its class was left out by request"]

    def test_names_may_be_exchanged(self):
        assert relabeled(manifest("ab"), {"a": "b", "b": "a"}).frame["label"].tolist() == [
            "b",
            "a",
        ]

    def test_a_class_that_is_not_there(self):
        with pytest.raises(ManifestError, match=r"no image is of class 'z'; the classes are a, b"):
            relabeled(manifest("ab"), {}, drop=["z"])

    def test_one_against_the_rest(self):
        assert one_against_rest(manifest("abca"), "a").counts == {"a": 2, "other": 2}
        with pytest.raises(ManifestError, match="no image is of class 'z'"):
            one_against_rest(manifest("ab"), "z")


class TestGathered:
    def test_equal_names_of_two_sources_become_two(self):
        plain = {s: manifest("ab", source=s) for s in ("s", "t")}
        bare = {s: Manifest(m.frame.assign(image=["1", "2"])) for s, m in plain.items()}
        named = gathered(bare)
        assert images(joined(*named.values())) == ["s/1", "s/2", "t/1", "t/2"]

    def test_one_image_in_two_collections(self):
        one = manifest("ab")
        with pytest.raises(ManifestError, match="is repeated"):
            gathered({"one": one, "two": one})

    def test_no_source(self):
        with pytest.raises(ManifestError, match="here names no source in 2 of 2 rows"):
            gathered({"here": Manifest(manifest("ab").frame.assign(source=None))})

    def test_nothing_to_put_together(self):
        with pytest.raises(ManifestError, match="nothing to put together"):
            joined()


COHORTS = st.lists(st.tuples(st.sampled_from("xyz"), st.integers(0, 9)), min_size=1, max_size=40)


class TestSampled:
    @settings(max_examples=10, deadline=None)
    @given(COHORTS, st.integers(1, 12), st.integers(0, 5))
    def test_never_more_never_a_class_less_mostly_whole_patients(self, rows, n, seed):
        m = manifest([label for label, _ in rows], [f"p{p}" for _, p in rows])
        few = sampled(m, n, seed=seed)
        assert max(few.counts.values()) <= n
        assert few.labels == m.labels
        whole = m.groups.value_counts()
        cut = few.groups.value_counts()
        parted = [g for g in cut.index if cut[g] < whole[g]]
        # A patient is cut only where a class has nothing else.
        assert len(parted) <= len(m.labels)

    @settings(max_examples=6, deadline=None)
    @given(COHORTS, st.integers(1, 12), st.randoms(use_true_random=False))
    def test_the_order_of_rows_makes_no_difference(self, rows, n, random):
        m = manifest([label for label, _ in rows], [f"p{p}" for _, p in rows])
        order = list(range(len(m)))
        random.shuffle(order)
        other = Manifest(m.frame.iloc[order])
        assert set(images(sampled(m, n, seed=3))) == set(images(sampled(other, n, seed=3)))

    def test_enough_is_left_alone_and_another_seed_draws_others(self):
        m = manifest("a" * 50)
        assert images(sampled(m, 50, seed=0)) == images(m)
        assert images(sampled(m, 10, seed=0)) != images(sampled(m, 10, seed=1))

    def test_by_class(self):
        assert sampled(manifest("aaabbb"), {"a": 1}, seed=0).counts == {"a": 1, "b": 3}

    def test_a_patient_larger_than_the_sample_stands_for_his_class(self):
        few = sampled(manifest("aaaaab", list("pppppq")), 2, seed=0)
        assert few.counts == {"a": 2, "b": 1}

    def test_none_at_all(self):
        with pytest.raises(ManifestError, match="a sample of 0 images"):
            sampled(manifest("a"), 0, seed=0)


PARTS = ["train"] * 6 + ["validation"] * 3 + ["test"] * 3


class TestCompleted:
    def test_each_part_gets_what_it_lacks_from_the_same_part(self):
        main = manifest("xxxxxo" + "xxo" + "xxx", split=PARTS)
        other = manifest("o" * 12, source="t", split=PARTS)
        full = completed(main, other, label="o", seed=0)
        for part, n in (("train", 5), ("validation", 2), ("test", 3)):
            assert full.part(part).counts == {"o": n, "x": n}
        split = dict(zip(images(other), other.frame["split"], strict=True))
        added = full.frame[full.frame["source"] == "t"]
        assert [split[i] for i in added["image"]] == added["split"].tolist()

    def test_all_where_there_are_fewer(self):
        full = completed(manifest("xxxx"), manifest("o", source="t"), label="o", seed=0)
        assert full.counts == {"o": 1, "x": 4}

    def test_a_set_without_the_class_and_one_with_enough(self):
        other = manifest("ooo", source="t")
        assert completed(manifest("xx"), other, label="o", seed=0).counts == {"o": 2, "x": 2}
        assert images(completed(manifest("xoo"), other, label="o", seed=0)) == images(
            manifest("xoo")
        )

    def test_nothing_to_add(self):
        with pytest.raises(ManifestError, match="no image of class 'o' to add"):
            completed(manifest("xx"), manifest("x", source="t"), label="o", seed=0)


class TestBalanced:
    def test_each_part_for_itself_and_only_those_asked_for(self):
        m = manifest("xxxxoo" + "xoo" + "xxo", split=PARTS)
        even = balanced(m, seed=0)
        for part, n in (("train", 2), ("validation", 1), ("test", 1)):
            assert even.part(part).counts == {"o": n, "x": n}
        assert balanced(m, seed=0, parts=("train",)).part("test").counts == {"o": 1, "x": 2}

    def test_without_a_split(self):
        assert balanced(manifest("xxxo"), seed=0).counts == {"o": 1, "x": 1}


class TestApart:
    def test_links_out_of_training_are_left_out(self):
        m = manifest(
            "abcdef", list("pqrstu"), split=["train"] * 2 + ["validation"] * 2 + ["test"] * 2
        )
        p, _, r, s, t, _ = m.groups
        links = Links.between([(p, r), (s, t)])
        kept = apart(m, links)
        # r is linked to training; t is linked to s, which stays in validation.
        assert [n.removeprefix("s/") for n in images(kept)] == ["i0", "i1", "i3", "i5"]
        assert kept.exclusions["reason"].str.contains("under another name").sum() == 2

    def test_one_that_is_left_out_binds_nobody(self):
        m = manifest("abc", list("pqr"), split=["train", "validation", "test"])
        p, q, r = m.groups
        kept = apart(m, Links.between([(p, q), (q, r)]))
        assert images(kept) == ["s/i0", "s/i2"]

    def test_no_links_no_loss(self):
        m = manifest("abc", split=["train", "validation", "test"])
        assert apart(m, Links.none()) is m

    @settings(max_examples=8, deadline=None)
    @given(st.integers(0, 1000))
    def test_afterwards_nothing_is_linked_across_parts(self, seed):
        rng = np.random.default_rng(seed)
        m = manifest("a" * 12, split=PARTS)
        groups = m.groups.tolist()
        pairs = [tuple(rng.choice(groups, 2, replace=False)) for _ in range(8)]
        kept = apart(m, Links.between(pairs))
        where = dict(zip(kept.groups, kept.frame["split"], strict=True))
        assert all(where[a] == where[b] for a, b in pairs if a in where and b in where)


class TestLinks:
    def test_both_ways_not_to_oneself_and_one_step_only(self):
        links = Links.between([("a", "b"), ("b", "c"), ("d", "d")])
        assert links.touching({"a"}) == {"a", "b"}
        assert links.touching({"c", "x"}) == {"b", "c", "x"}
        assert links.touching({"d"}) == {"d"}
        assert len(links) == 2

    def test_images_that_are_not_here_make_no_link(self):
        pairs = pd.DataFrame({"image_a": ["1", "1"], "image_b": ["2", "gone"]})
        links = Links.of(pairs, {"1": "a", "2": "b"})
        assert links.touching({"a"}) == {"a", "b"}
        assert len(links) == 1

    def test_the_links_of_both(self):
        both = Links.between([("a", "b")]) | Links.between([("a", "c"), ("e", "f")])
        assert both.touching({"a"}) == {"a", "b", "c"}
        assert both.touching({"f"}) == {"e", "f"}
