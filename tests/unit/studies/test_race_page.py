"""Sentences that the numbers choose, held against planted tables."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from hurdles.evaluation.matrix import GAP_COLUMNS, MATRIX_COLUMNS, PAIRED_COLUMNS
from hurdles.studies.race_embedding import PROBE_COLUMNS
from hurdles.studies.race_sheet import Sheet
from hurdles.studies.race_tables import FAULTS, Tables
from hurdles.studies.tartaglione_2020_page import page
from hurdles.studies.tartaglione_2020_summary import summary
from hurdles.studies.tartaglione_2020_words import loss_sentence, paired_sentence, row_name

MASKED, RAW, BACKGROUND = (row_name("cohen", p) for p in ("equalized+masked", "raw", "background"))


def differences(*rows: tuple[float, float], **more) -> pd.DataFrame:
    """Return differences with their adjusted p-values."""
    return pd.DataFrame(
        [
            {"difference": d, "low": d - 0.1, "high": d + 0.1, "p_holm": p, "shared": "", **more}
            for d, p in rows
        ]
    )


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


def sheet(**changes) -> Sheet:
    """Return a sheet of nothing, changed."""
    empty = Tables(
        pd.DataFrame(columns=["seed", *MATRIX_COLUMNS]),
        pd.DataFrame(columns=[*GAP_COLUMNS, "shared"]),
        pd.DataFrame(columns=["question", *PAIRED_COLUMNS]),
        pd.DataFrame(columns=["fault", "model", "test", "measure", "difference", "p_value"]),
        pd.DataFrame(columns=["cell", "test", "image", "reason"]),
    )
    tables = Tables(**{**vars(empty), **changes.pop("tables", {})})
    sets = [
        {"test": "cohen", "of_covid": True, "says": "its own", "images": 40, "patients": 30,
         "positive": 20},
        {"test": "nih RX+/RX-", "of_covid": False, "says": "none", "images": 50, "patients": 50,
         "positive": 25},
    ]  # fmt: skip
    plain = {
        "profile": "fast",
        "explanation": "small.",
        "tables": tables,
        "cells": pd.DataFrame({"status": ["done", "not here: corda"]}),
        "sets": pd.DataFrame(sets),
        "inside": {MASKED: "cohen", BACKGROUND: "cohen"},
        "twins": pd.DataFrame(columns=["between", "pairs"]),
        "probes": pd.DataFrame(columns=list(PROBE_COLUMNS)),
        "pictures": {},
        "machines": [],
        "missing": ["corda"],
    }
    return Sheet(**{**plain, **changes})


class TestPage:
    def test_of_nothing(self):
        text = page(sheet())
        assert "1 of 2 cells are done" in text
        assert "No model has been tested yet." in text
        assert "nan" not in text.lower().replace("tartaglione", "")

    def test_inside_is_bold_and_undefined_is_said(self):
        rows = matrix_rows(MASKED, "cohen", 0.9) + matrix_rows(MASKED, "nih RX+/RX-", math.nan)
        text = page(sheet(tables={"matrix": pd.DataFrame(rows)}))
        assert f"| {MASKED} | **0.900 [0.800, 0.950]** | undefined |" in text

    def test_findings_are_never_called_covid(self):
        rows = matrix_rows(MASKED, "nih RX+/RX-", 0.7, sensitivity=0.4, specificity=0.9)
        text = page(sheet(tables={"matrix": pd.DataFrame(rows)}))
        assert "What share of other pneumonias does it call COVID-19?" in text
        assert f"| {MASKED} | nih RX+/RX- | 40 % [30, 45] | 10 % [5, 20] |" in text
        assert "25 (not COVID-19)" in text

    @pytest.mark.parametrize(
        ("value", "said"), [(0.9, "so it tells the classes"), (0.55, "so it is not shown to tell")]
    )
    def test_what_the_background_reaches(self, value, said):
        rows = matrix_rows(BACKGROUND, "cohen", value)
        assert said in page(sheet(tables={"matrix": pd.DataFrame(rows)}))

    def test_seeds_are_shown_from_the_second_on(self):
        one = pd.DataFrame(matrix_rows(MASKED, "cohen", 0.9))
        two = pd.concat([one, pd.DataFrame(matrix_rows(MASKED, "cohen", 0.8, seed=1))])
        assert "What a seed is worth\n" not in page(sheet(tables={"matrix": one}))
        assert f"| {MASKED} | cohen | 2 | 0.800 to 0.900 |" in page(sheet(tables={"matrix": two}))

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
        text = page(sheet(tables={"faults": pd.DataFrame([fault])}))
        assert said in text
        assert FAULTS["last epoch"] in text
        assert FAULTS["twins kept"] not in text

    def test_what_was_left_out_is_counted(self):
        rows = [("a/b/0", "cohen", f"i{n}", "seen") for n in range(3)]
        left = pd.DataFrame(rows, columns=["cell", "test", "image", "reason"])
        twins = pd.DataFrame({"between": ["within cohen"], "pairs": [3]})
        text = page(sheet(tables={"left_out": left}, twins=twins))
        assert "| a/b/0 | seen | cohen: 3 |" in text
        assert "3 within cohen" in text


class TestSummary:
    ROWS = matrix_rows(MASKED, "cohen", 0.8)
    GAPS = differences((0.5, 0.01), model=MASKED, inside="cohen", outside="far").assign(
        auc_inside=0.8, auc_outside=0.3
    )

    def said(self, outside: float, gaps: pd.DataFrame) -> str:
        rows = self.ROWS + matrix_rows(MASKED, "far", outside)
        return summary(sheet(tables={"matrix": pd.DataFrame(rows), "gaps": gaps}))

    def test_it_stands_before_the_tables_and_counts_who_tells_anything(self):
        text = page(sheet(tables={"matrix": pd.DataFrame(self.ROWS)}))
        assert text.index("## In short") < text.index("## Train x test")
        assert "areas run from 0.800 to 0.800; 1 of 1 model are shown to tell COVID-19" in text
        unsure = page(sheet(tables={"matrix": pd.DataFrame(matrix_rows(MASKED, "cohen", 0.55))}))
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
            assert words in summary(sheet(tables={"matrix": rows}, probes=probes))

    def test_there_is_none_before_a_model_is_tested(self):
        assert summary(sheet()) == ""
