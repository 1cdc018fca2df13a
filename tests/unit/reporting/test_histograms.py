"""Strips of bars: what is drawn, what is said of it, and what of a name must not get through."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from hurdles.evaluation.histograms import score_histograms
from hurdles.evaluation.predictions import Predictions
from hurdles.reporting.histograms import score_charts


def histograms(source="A", n=40, known=True):
    p = np.linspace(0, 1, n)
    names = [str(i) for i in range(n)]
    table = Predictions.from_arrays(
        ["sick", "well"],
        y_true=["sick" if i % 2 else "well" for i in range(n)],
        y_prob=np.column_stack([p, 1 - p]),
        images=names,
        groups=names,
        sources=[source] * n,
    )
    found = score_histograms(table)
    none = (0,) * len(found[0].patients)
    return found if known else [replace(h, n_patients=0, patients=none) for h in found]


def test_a_bar_is_as_high_as_its_share_and_own_images_stand_out():
    (chart,) = score_charts(histograms())
    assert chart.title == "Probability of sick"
    bars = re.findall(r'<rect class="(tenth[ own]*)" .*?height="([\d.]+)"', chart.svg)
    assert [style for style, _ in bars] == ["tenth own"] * 10 + ["tenth"] * 10
    heights = [float(height) for _, height in bars]
    assert heights[:10] == pytest.approx([heights[0]] * 10, rel=0.6)
    assert sum(heights[:10]) == pytest.approx(sum(heights[10:]), abs=0.6)
    assert "<title>2 images, 2 patients</title>" in chart.svg
    assert "20 images, 20 patients" in chart.svg
    assert "sick, A: 50\u202f% of 20 images" in chart.summary


def test_where_no_patient_is_known_none_is_named():
    (chart,) = score_charts(histograms(known=False))
    assert "patient" not in chart.svg


def test_names_are_escaped_and_long_ones_are_cut_with_the_whole_beside():
    bad = "<script>alert(1)</script>" * 3
    (chart,) = score_charts(histograms(bad))
    assert "<script" not in chart.svg
    assert "…" in chart.svg
    assert chart.svg.count("&lt;script&gt;" * 1) >= 3


def test_of_many_groups_the_largest_are_drawn_and_the_rest_is_counted():
    many = [replace(histograms()[0], source=f"s{i}", n_images=20 + i) for i in range(30)]
    (chart,) = score_charts(many)
    assert "6 smaller groups not drawn" in chart.summary
    assert "s29" in chart.svg
    assert ">sick, s0<" not in chart.svg


def test_without_histograms_there_is_no_chart():
    assert score_charts([]) == []
