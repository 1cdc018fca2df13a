"""Sentences that the numbers choose, held against planted tables."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from hurdles.errors import RecipeError
from hurdles.studies import load_grid
from hurdles.studies.pages import _environment, records, rendered
from hurdles.studies.published import by_hospital

GRID = load_grid("tartaglione-2020")
MASKED, RAW, BACKGROUND = (
    f"cohen, {p}, from kermany" for p in ("equalized+masked", "raw", "background")
)
KINDS = GRID.values["kinds"]


def sentence(name: str, *given) -> str:
    """Return what a macro of the templates says."""
    words = _environment(None).get_template("words.md.j2").module
    return getattr(words, name)(*given).strip()


def paired_sentence(what: str, table: pd.DataFrame) -> str:
    return sentence("paired_sentence", what, records(table))


def loss_sentence(table: pd.DataFrame) -> str:
    return sentence("loss_sentence", records(table))


def differences(*rows: tuple[float, float], **more) -> pd.DataFrame:
    """Return differences with their adjusted p-values."""
    return pd.DataFrame(
        [
            {"difference": d, "low": d - 0.1, "high": d + 0.1, "p_holm": p, "shared": "", **more}
            for d, p in rows
        ]
    )


def test_a_template_that_asks_for_what_is_not_there_is_named(tmp_path):
    (tmp_path / "mine.md.j2").write_text("# {{ title }}\n")
    with pytest.raises(RecipeError, match=r"the page mine\.md\.j2.*'title' is undefined"):
        rendered("mine.md.j2", folder=tmp_path)
    with pytest.raises(RecipeError, match=r"nosuch\.md\.j2"):
        rendered("nosuch.md.j2", folder=tmp_path)


def test_a_template_from_elsewhere_gets_at_nothing_else(tmp_path):
    (tmp_path / "mine.md.j2").write_text("{{ ''.__class__.__mro__ }}")
    with pytest.raises(RecipeError, match="unsafe"):
        rendered("mine.md.j2", folder=tmp_path)


class TestPairedSentence:
    @pytest.mark.parametrize(
        ("rows", "said"),
        [
            (
                [(0.1, 0.01), (0.2, 0.02)],
                "M raises the area in 2 of 2 comparisons (by 10.0 to",
            ),
            (
                [(-0.1, 0.01), (0.2, 0.5)],
                "M lowers the area in 1 of 2 comparisons (by 10.0",
            ),
            (
                [(-0.1, 0.01), (0.2, 0.01)],
                "M raises the area in 1 (by 20.0 points) and lowers",
            ),
            ([(0.3, 0.05)], "M: no difference is shown in 1 comparison (interval +20.0 to +40.0"),
            ([(math.nan, math.nan)], "M: nothing is measured yet."),
        ],
    )
    def test_follows_from_sign_and_p(self, rows, said):
        assert paired_sentence("M,", differences(*rows)).replace("M,", "M").startswith(said)


class TestLossSentence:
    def test_loss_gain_and_nothing(self):
        assert "In 1 of 2 comparisons the area outside is lower" in loss_sentence(
            differences((0.3, 0.01), (0.1, 0.2))
        )
        assert "in 1 it is higher (by 20.0 points)" in loss_sentence(
            differences((0.3, 0.01), (-0.2, 0.01))
        )
        assert "No loss is shown" in loss_sentence(differences((0.3, 0.06)))

    def test_sets_that_share_a_collection_do_not_count(self):
        shared = differences((0.3, 0.01)).assign(shared="cohen")
        assert loss_sentence(shared) == "No model has been tested outside its own collection yet."


def matrix_rows(model: str, test: str, value: float, seed: int = 0, **measures) -> list[dict]:
    """Return the rows of one cell of the matrix."""
    rows = []
    for measure in ("auc", "sensitivity", "specificity"):
        v = measures.get(measure, value)
        rows.append(
            {"seed": seed, "model": model, "test": test, "column holds": "", "measure": measure,
             "class": "COVID-19", "value": v, "low": v - 0.1, "high": v + 0.05, "n_images": 40,
             "n_patients": 30, "note": ""}
        )  # fmt: skip
    return rows


def page(tables=None, **changes) -> str:
    """Return the page of nothing, changed."""
    names = ("matrix", "gaps", "paired", "faults", "left-out", "probes", "published")
    given = {name: [] for name in names}
    given["by-hospital"] = records(by_hospital(GRID.values["hospitals"]))
    given |= {name: records(table) for name, table in (tables or {}).items()}
    plain = {
        "study": GRID,
        "profile": "fast",
        "explanation": "small.",
        "tables": given,
        "cells": [{"status": "done"}, {"status": "not here: corda"}],
        "sets": [
            {"test": "cohen", "holds": "", "says": "its own", "images": 40, "patients": 30,
             "positive": 20},
            {"test": "nih RX+/RX-", "holds": "RX+", "says": "none", "images": 50, "patients": 50,
             "positive": 25},
        ],
        "inside": {MASKED: "cohen", BACKGROUND: "cohen"},
        "pictures": {},
        "copies": [],
        "missing": ["corda"],
        "machines": [],
    }  # fmt: skip
    return rendered(GRID.page, **{**plain, **changes})


def summary(**changes) -> str:
    """Return the part of the page for somebody in a hurry."""
    return page(**changes).partition("## In short")[2].partition("## Train x test")[0]


class TestPage:
    def test_of_nothing(self):
        text = page()
        assert "1 of 2 cells are done" in text
        assert "No model has been tested yet." in text
        assert "nan" not in text.lower().replace("tartaglione", "")

    def test_inside_is_bold_and_undefined_is_said(self):
        rows = matrix_rows(MASKED, "cohen", 0.9) + matrix_rows(MASKED, "nih RX+/RX-", math.nan)
        text = page(tables={"matrix": pd.DataFrame(rows)})
        assert f"| {MASKED} | **0.900 [0.800, 0.950]** | undefined |" in text

    def test_without_published_values_it_says_so_and_how_to_give_them(self):
        text = page()
        assert "The published values are not at hand here" in text
        assert "\nmodel,test,measure,value,source\n" in text

    def test_published_values_stand_beside_ours(self):
        rows = matrix_rows(MASKED, "cohen", 0.9) + matrix_rows(MASKED, "cohen", 0.1, seed=1)
        row = {"model": MASKED, "test": "cohen", "measure": "auc", "value": 0.56, "source": "a|b"}
        published = pd.DataFrame([row, {**row, "test": "corda"}])
        text = page(tables={"matrix": pd.DataFrame(rows), "published": published})
        assert f"| {MASKED} | cohen | auc | 0.560 | a\\|b | 0.900 [0.800, 0.950] |" in text
        assert f"| {MASKED} | corda | auc | 0.560 | a\\|b | not done |" in text
        assert "not at hand" not in text

    def test_what_the_hospital_alone_gives_is_computed_from_the_counts(self):
        counts = GRID.values["hospitals"]
        text = page()
        assert "Mauriziano 138 of 173, Molinette 362 of 545" in text
        # Slowly: over all pairs of an image without and one with COVID-19.
        shares = {name: p / (n + p) for name, (n, p) in counts.items()}
        won = pairs = 0.0
        for one, (negative, _) in counts.items():
            for two, (_, positive) in counts.items():
                won += negative * positive * ((shares[two] > shares[one]) + (one == two) / 2)
                pairs += negative * positive
        assert f"has an AUC of {won / pairs:.3f} on these 1601 images" in text
        assert won / pairs == pytest.approx(0.742, abs=5e-4)

    @pytest.mark.parametrize(
        ("profile", "option"), [("full", ""), ("fast", " --fast"), ("middle", " --profile middle")]
    )
    def test_the_command_that_made_it(self, profile, option):
        assert f"`hurdles study tartaglione-2020{option} --data ...`" in page(profile=profile)

    def test_findings_are_never_called_covid(self):
        rows = matrix_rows(MASKED, "nih RX+/RX-", 0.7, sensitivity=0.4, specificity=0.9)
        text = page(tables={"matrix": pd.DataFrame(rows)})
        assert "What share of other pneumonias does it call COVID-19?" in text
        assert f"| {MASKED} | nih RX+/RX- | 40 % [30, 45] | 10 % [5, 20] |" in text
        assert "25 (not COVID-19)" in text

    @pytest.mark.parametrize(
        ("value", "said"), [(0.9, "so it tells the classes"), (0.55, "so it is not shown to tell")]
    )
    def test_what_the_background_reaches(self, value, said):
        rows = matrix_rows(BACKGROUND, "cohen", value)
        assert said in page(tables={"matrix": pd.DataFrame(rows)})

    def test_seeds_are_shown_from_the_second_on(self):
        one = pd.DataFrame(matrix_rows(MASKED, "cohen", 0.9))
        two = pd.concat([one, pd.DataFrame(matrix_rows(MASKED, "cohen", 0.8, seed=1))])
        assert "What a seed is worth\n" not in page(tables={"matrix": one})
        assert f"| {MASKED} | cohen | 2 | 0.800 to 0.900 |" in page(tables={"matrix": two})

    @pytest.mark.parametrize(
        ("difference", "p", "said"),
        [
            (0.2, 0.01, "In 1 of 1 measurement the fault makes the result better"),
            (0.2, 0.3, "In none of 1 measurement is it shown"),
            (-0.2, 0.01, "In none of 1 measurement is it shown"),
        ],
    )
    def test_a_fault_is_judged_by_its_number(self, difference, p, said):
        fault = {"fault": "last epoch", "model": MASKED, "test": "cohen", "measure": "auc",
                 "as_coded": 0.9, "done_right": 0.9 - difference, "difference": difference,
                 "low": difference - 0.1, "high": difference + 0.1, "p_value": p}  # fmt: skip
        text = page(tables={"faults": pd.DataFrame([fault])})
        assert said in text
        assert KINDS["last epoch"] in text
        assert KINDS["twins kept"] not in text

    def test_what_was_left_out_is_counted(self):
        rows = [("a/b/0", "cohen", f"i{n}", "seen") for n in range(3)]
        left = pd.DataFrame(rows, columns=["cell", "test", "image", "reason"])
        twins = pd.DataFrame({"between": ["within cohen"], "pairs": [3]})
        text = page(tables={"left-out": left}, copies=records(twins))
        assert "| a/b/0 | seen | cohen: 3 |" in text
        assert "3 within cohen" in text


class TestSummary:
    ROWS = matrix_rows(MASKED, "cohen", 0.8)
    GAPS = differences((0.5, 0.01), model=MASKED, inside="cohen", outside="far").assign(
        auc_inside=0.8, auc_outside=0.3
    )

    def said(self, outside: float, gaps: pd.DataFrame) -> str:
        rows = self.ROWS + matrix_rows(MASKED, "far", outside)
        return summary(tables={"matrix": pd.DataFrame(rows), "gaps": gaps})

    def test_it_stands_before_the_tables_and_counts_who_tells_anything(self):
        text = page(tables={"matrix": pd.DataFrame(self.ROWS)})
        assert text.index("## In short") < text.index("## Train x test")
        assert "areas run from 0.800 to 0.800; 1 of 1 model are shown to tell COVID-19" in text
        unsure = page(tables={"matrix": pd.DataFrame(matrix_rows(MASKED, "cohen", 0.55))})
        assert "0 of 1 model are shown" in unsure

    def test_worse_than_a_coin_is_said_where_it_is_shown_and_nowhere_else(self):
        assert "In 1 of 1 such tests the model is worse than a coin" in self.said(0.3, self.GAPS)
        assert "coin" not in self.said(0.48, self.GAPS)
        assert "coin" not in self.said(0.3, self.GAPS.assign(shared="cohen"))

    def test_the_collection_is_told_only_where_every_interval_says_so(self):
        probe = {"features": MASKED, "within": "COVID-19", "value": 0.8, "n_images": 9, "note": ""}
        rows = pd.DataFrame(self.ROWS)
        for low, words in ((0.6, "can be told from"), (0.4, "is told from a model's features")):
            probes = pd.DataFrame([{**probe, "low": low, "high": 0.9}])
            assert words in summary(tables={"matrix": rows, "probes": probes})

    def test_there_is_none_before_a_model_is_tested(self):
        assert summary() == ""
