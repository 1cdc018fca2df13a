"""The report page: what it must say, and what must never get into it."""

from __future__ import annotations

import math
import re
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hurdles.copies.finder import COLUMNS as COPIES
from hurdles.copies.finder import Copies
from hurdles.data.manifest import Manifest, exclusions_table
from hurdles.errors import EvaluationError
from hurdles.evaluation.conditions import Conditions
from hurdles.evaluation.evaluation import Evaluation, evaluate
from hurdles.evaluation.predictions import Predictions
from hurdles.reporting.page import (
    Sheet,
    SheetItem,
    condition_rows,
    measure_tables,
    render,
    write_report,
)

sys.path.insert(0, str(Path(__file__).parent))
import report_samples as samples
from report_samples import Page

from hurdles.reporting.wording import percent


@pytest.fixture(scope="module")
def html() -> str:
    return render(samples.content())


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def small(labels: list[str], said: list[str], **columns) -> tuple[Manifest, Predictions]:
    """Images ``0, 1, ...`` of one patient each, all tested unless `columns` says otherwise."""
    n = len(labels)
    names = [str(i) for i in range(n)]
    columns = {"patient": [f"p{i}" for i in range(n)], "split": ["test"] * n, **columns}
    table = Manifest(
        pd.DataFrame({"image": names, "path": [f"/{i}" for i in names], "label": labels, **columns})
    )
    tested = (table.frame["split"] != "train").to_numpy()
    classes = sorted(set(labels) | set(said))
    prob = np.eye(len(classes))[[classes.index(s) for s in said]]
    return table, Predictions.from_arrays(
        classes,
        y_true=table.frame["label"][tested].tolist(),
        y_prob=prob[tested],
        images=table.frame["image"][tested].tolist(),
        groups=table.groups[tested].tolist(),
    )


def report(table: Manifest, said: Predictions, **changes) -> Page:
    return Page(
        render(
            samples.content(
                manifest=table,
                predictions=said,
                evaluation=evaluate(said),
                **{"warnings": (), "sheets": (), **changes},
            )
        )
    )


def test_the_answer_comes_first_with_its_interval(page: Page):
    answer = (
        "On 436 images of 436 patients kept out of its training, the model named the right class "
        "in 95.4 % (95 % interval 93.0 to 97.0)."
    )
    assert answer in page.text
    before_sections = page.text[: page.text.index("Who was in the data")]
    assert answer in before_sections
    assert "28 of 33 84.8 % 69.1 to 93.3" in before_sections
    assert "says nothing about another hospital" in before_sections
    assert "COVID-19 (33 images, 24 points wide)" in before_sections


def test_nothing_is_loaded_from_anywhere(html: str, page: Page):
    for tag, attributes in page.tags:
        assert tag not in ("script", "iframe", "object", "embed", "base"), tag
        assert not any(name.startswith("on") for name in attributes), attributes
        for name in ("src", "srcset", "data", "poster", "xlink:href"):
            assert attributes.get(name, "data:").startswith("data:"), attributes
        if tag != "a":
            assert attributes.get("href", "data:").startswith("data:"), attributes
        assert "url(" not in attributes.get("style", "")
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert not [a["href"] for t, a in page.tags if t == "a" and "://" in a["href"]]
    assert "default-src 'none'" in html


def test_says_research_use_only_at_both_ends(page: Page):
    places = [m.start() for m in re.finditer("Research use only. Not a medical device.", page.text)]
    assert len(places) == 2
    assert places[0] < 50
    assert places[1] > page.text.index("What was left out")


def test_no_missing_value_is_ever_visible(page: Page):
    assert not re.search(r"\b(nan|none|nat|inf|undefined variable)\b", page.text.lower())
    assert not re.search(r"\b(Estimate|Undefined|dict_items|np\.float)\b", page.text)
    assert "mask not set" in page.text


def test_stays_small_and_is_written_whole(tmp_path: Path):
    target = write_report(samples.content(), tmp_path / "rün" / "report.html")
    assert target.stat().st_size < 3_000_000
    assert target.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert [p.name for p in target.parent.iterdir()] == ["report.html"]


def test_the_same_content_gives_the_same_bytes():
    assert render(samples.content()) == render(samples.content())


_EVIL = "<script>alert(1)</script>\"'&{{ 7*7 }}{% raw %}"


def test_text_from_outside_is_shown_and_never_run():
    table, said = small([_EVIL, "b", "b"], [_EVIL, "b", _EVIL], source=[_EVIL, "s", "s"])
    table = Manifest(table.frame, exclusions_table([(f"/{_EVIL}.png", f"bad: {_EVIL}")]))
    item = SheetItem(_EVIL, samples.radiograph(0, 32), None, _EVIL, "b", 0.5, _EVIL)
    page = report(
        table,
        said,
        title=_EVIL,
        research_sentence=_EVIL,
        warnings=[_EVIL],
        heat_method=_EVIL,
        sheets=[Sheet(_EVIL, [item], _EVIL)],
        recipe={_EVIL: _EVIL, "nested": {_EVIL: [_EVIL]}},
        recipe_notes={_EVIL: _EVIL},
        environment={_EVIL: {_EVIL: _EVIL}},
    )
    assert not [t for t, _ in page.tags if t == "script"]
    assert not [a for _, a in page.tags if any(n.startswith("on") for n in a)]
    assert page.text.count("<script>alert(1)</script>") > 15
    assert "{{ 7*7 }}" in page.text
    assert "49" not in page.text[: page.text.index("Measures")]


@settings(max_examples=8, deadline=None)
@given(st.lists(st.sampled_from(["CT", "lateral", "<b>", "ä", ""]), max_size=40))
def test_every_exclusion_is_counted_under_its_reason(reasons: list[str]):
    rows = exclusions_table((f"/x/{i}-ü.png", why) for i, why in enumerate(reasons))
    table, said = small(["a", "b"], ["a", "b"])
    text = report(Manifest(table.frame, rows), said).text
    if not reasons:
        assert "No file was left out." in text
        return
    were = "1 file was" if len(reasons) == 1 else f"{len(reasons)} files were"
    assert f"{were} seen and not used" in text
    for why, n in Counter(reasons).items():
        assert f"{n} · {why or 'no reason given'}" in text
    assert all(f"/x/{i}-ü.png" in text for i in range(len(reasons)))


def test_a_long_list_of_exclusions_says_how_many_it_does_not_show():
    table, said = small(["a", "b"], ["a", "b"])
    rows = exclusions_table((f"/ct/{i}.png", "a CT slice") for i in range(1_734))
    text = report(Manifest(table.frame, rows), said).text
    assert "1,734 · a CT slice" in text
    assert "And 1,234 more" in text
    assert text.count("/ct/") == 500


def test_what_is_undefined_says_so_and_why():
    table, said = small(["a", "a", "b"], ["a", "a", "a"])
    said = Predictions.from_arrays(
        ["a", "b", "c"],
        y_true=["a", "a", "b"],
        y_prob=np.array([[1.0, 0, 0]] * 3),
        images=["0", "1", "2"],
        groups=["0", "1", "2"],
    )
    text = report(table, said).text
    assert "c no images undefined: no image of c in the set" in text
    assert "no image is predicted as" in text
    assert not re.search(r"\bnan\b", text.lower())


def test_an_accuracy_that_is_undefined_is_not_given_a_number():
    from hurdles.evaluation.estimate import undefined
    from hurdles.reporting.answer import Exposure, headline

    said = str(headline(undefined("there is no image"), Exposure(1, 1, 0, 0, False, 0, 0, True)))
    assert said == (
        "On 1 image of 1 patient, how often the model is right cannot be said: there is no image."
    )


def test_a_class_that_the_model_does_not_know_is_counted_and_named():
    table, _ = small(["a", "b", "z", "z"], ["a", "b", "a", "b"])
    said = Predictions.from_arrays(
        ["a", "b"],
        y_true=["a", "b", "z", "z"],
        y_prob=np.array([[1.0, 0], [0, 1], [1, 0], [0, 1]]),
        images=list("0123"),
        groups=list("0123"),
    )
    text = report(table, said).text
    assert "in 50.0 %" in text
    assert "All images 2 of 4" in text
    assert "z 2 images 1 50 % 1 50 %" in text
    assert "does not know the class" in text


def test_a_history_with_gaps_is_drawn_and_named():
    history = samples.history(6)
    history.loc[2:3, "validation_loss"] = math.nan
    history.loc[4, "train_loss"] = math.inf
    page = Page(render(samples.content(history=history, chosen_epoch=2)))
    assert "In 2 epochs it was not a number." in page.text
    assert "not a number" in page.text
    points = [a["points"] for t, a in page.tags if t == "polyline"]
    assert all("nan" not in p and "inf" not in p for p in points)
    # Both lines of accuracy whole; the losses parted once each, one piece being a single dot.
    assert len(points) + sum(t == "circle" for t, _ in page.tags) == 6


def test_every_column_of_a_table_has_its_heading():
    whole = render(samples.content())
    tables = re.findall(r"<table.*?</table>", whole, re.DOTALL)
    assert len(tables) > 2
    for table in tables:
        head, _, body = table.partition("</thead>")
        if body:
            first = body.split("</tr>")[0]
            assert len(re.findall("<t[hd]", first)) == len(re.findall("<t[hd][ >]", head)), first


@pytest.mark.parametrize("epochs", [0, 1, 2, 300])
def test_any_number_of_epochs(epochs: int):
    history = samples.history(300).head(epochs)
    page = Page(render(samples.content(history=history, chosen_epoch=1 if epochs else None)))
    assert ("How it was trained" in page.text) == bool(epochs)


def test_sizes_are_shown_where_images_grew():
    same, grown = samples.history(3), samples.history(3).assign(size=[64.0, 96.0, 224.0])
    pages = [Page(render(samples.content(history=h, chosen_epoch=3))).text for h in (same, grown)]
    assert ["Size" in page for page in pages] == [False, True]


def test_without_training_the_page_does_not_mention_it():
    page = Page(render(samples.content(history=None, chosen_epoch=None, recipe={})))
    assert "How it was trained" not in page.text
    assert "The recipe" not in page.text


def test_a_history_without_its_columns_is_refused():
    with pytest.raises(EvaluationError, match="the history lacks 'validation_loss'"):
        samples.content(history=samples.history().drop(columns="validation_loss"))


def test_maps_that_cannot_be_drawn_are_named(page: Page):
    assert page.text.count("the heat-map is empty: no region raised the score") == 2
    assert page.text.count("the gradient vanished") == 2
    drawn = sum(a.get("class") == "heat" for _, a in page.tags)
    shown = sum(t == "img" for t, _ in page.tags) - drawn
    assert (shown, drawn) == (26, 22)


def test_a_broken_map_is_named_and_not_drawn():
    heat = samples.heat(0)
    heat[3, 3] = math.nan
    item = SheetItem("x", samples.radiograph(0, 64), heat, "COVID-19", "Normal", 0.5)
    page = Page(render(samples.content(sheets=[Sheet("one", [item])])))
    assert "1 of its 3,136 values are not numbers" in page.text
    assert not [a for _, a in page.tags if a.get("class") == "heat"]


def test_radiographs_of_another_type_are_refused():
    with pytest.raises(EvaluationError, match=r"'x' are float64 of shape \(4, 4\)"):
        SheetItem("x", np.zeros((4, 4)), None, "a", "b", 0.5)


def test_every_picture_has_words_and_every_control_a_label(page: Page):
    ids = {a["id"] for _, a in page.tags if "id" in a}
    assert len(ids) == sum("id" in a for _, a in page.tags)
    for tag, attributes in page.tags:
        if tag == "img":
            assert attributes["alt"] or attributes["class"] == "heat"
        if tag == "svg":
            assert attributes["role"] == "img"
            assert re.search("alidation|robability", attributes["aria-label"])
        if tag == "th":
            assert attributes["scope"] in ("row", "col", "colgroup", "rowgroup")
        if tag == "a" and attributes["href"].startswith("#"):
            assert attributes["href"][1:] in ids
        for name in ("aria-labelledby", "for"):
            assert attributes.get(name, "title") in ids
    headings = [int(t[1]) for t, _ in page.tags if re.fullmatch("h[1-6]", t)]
    assert headings.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(headings))


def test_the_table_of_the_data_adds_up():
    from hurdles.reporting.page import cohort_rows

    table = samples.manifest()
    sizes = [*table.counts.values(), len(table)]
    block: list[list[int]] = []
    checked, heading = 0, ""
    for row in [*cohort_rows(table)[2:], None]:
        if row is None or row.level == 1:
            if block and heading != "Age in years":
                assert [sum(column) for column in zip(*block, strict=True)] == sizes
                checked += 1
            block, heading = [], row.name if row else ""
        elif row.name != "median and quartiles":
            block.append([int(value.replace(",", "")) for value, _ in row.cells])
    assert checked == 4  # what for, source, sex, view


def test_patients_that_are_not_known_are_named_on_the_first_screen():
    table = samples.manifest(patients=False)
    text = Page(render(samples.content(manifest=table))).text
    first = text[: text.index("Who was in the data")]
    assert "(patients not known)" in first
    assert "Patients are not known for 2,905 images: each was treated as a patient" in first


def test_patients_on_both_sides_of_the_split_are_named_and_unseen_is_not_said():
    table, said = small(
        ["a", "b", "a", "b"],
        ["a", "b", "a", "b"],
        patient=["p", "q", "p", "r"],
        split=["train", "train", "test", "test"],
    )
    text = report(table, said).text
    assert "On 2 images of 2 patients, 1 of whom it knew already, the model" in text
    assert "1 patient of the tested images also has images" in text
    assert "kept out of its training" not in text


def test_images_that_were_trained_on_are_named():
    table, _ = small(["a", "b"], ["a", "b"], split=["train", "test"])
    said = Predictions.from_arrays(
        ["a", "b"], y_true=["a", "b"], y_prob=np.eye(2), images=["0", "1"], groups=["0", "1"]
    )
    text = report(table, said).text
    assert "1 tested image belongs to the part that the model was trained or chosen on" in text
    assert "kept out of its training" not in text


def test_kept_out_of_training_is_not_claimed_for_images_outside_the_manifest():
    table, said = small(["a", "b", "a"], ["a", "b", "a"], split=["train", "test", "test"])
    assert "kept out of its training" in report(table, said).text
    elsewhere = Predictions(said.frame.assign(image=["x", "y"]))
    assert "kept out of its training" not in report(table, elsewhere).text


def test_never_seen_is_said_only_where_copies_were_looked_for_and_there_is_none():
    table, said = small(["a", "b", "a"], ["a", "b", "a"], split=["train", "test", "test"])
    unasked = report(table, said).text
    assert "never seen" not in unasked
    assert "2 images of 2 patients kept out of its training" in unasked
    pairs = [("0", "2", 0.99, False, True), ("1", "2", 0.98, False, False)]
    copied = report(table, said, copies=Copies(pd.DataFrame(pairs, columns=list(COPIES)))).text
    assert "never seen" not in copied
    assert "2 images (1 of them copies of images that it had seen) of 2 patients" in copied


@pytest.mark.parametrize(
    ("sources", "told"),
    [
        (["s"] * 20 + ["t"] * 20, True),
        (["s"] * 18 + ["t"] * 2 + ["t"] * 18 + ["s"] * 2, True),
        (["s"] * 16 + ["t"] * 4 + ["t"] * 16 + ["s"] * 4, False),
        (["s"] * 40, False),
        ([f"s{i}" for i in range(40)], False),
    ],
)
def test_a_source_that_gives_the_class_away_is_named(sources: list[str], told: bool):
    labels = ["a"] * 20 + ["b"] * 20
    table, said = small(labels, labels, source=sources)
    assert ("The source gives the class away" in report(table, said).text) == told


def test_a_source_that_tells_nothing_but_the_commonest_class_is_no_warning():
    labels = ["a"] * 96 + ["b"] * 4
    table, said = small(labels, labels, source=["s", "t"] * 50)
    assert "The source gives the class away" not in report(table, said).text


def test_the_warnings_given_follow_the_ones_found_and_none_stands_twice():
    own = "Patients are not known"
    table = samples.manifest(patients=False)
    from hurdles.reporting.answer import own_warnings

    found = own_warnings(table, samples.predictions(table))
    content = samples.content(manifest=table, warnings=[*found, "Said by the caller."])
    text = Page(render(content)).text
    assert text.count(own) == 1
    assert text.index(own) < text.index("Said by the caller.")


def test_the_picture_does_not_change_what_the_numbers_say(page: Page):
    """Widths of the bars are the very numbers that stand beside them."""
    bars = [a["style"] for t, a in page.tags if a.get("class") == "bar"]
    assert [float(re.findall(r"[\d.]+", s)[0]) for s in bars] == pytest.approx(
        [100 * 416 / 436, 100 * 28 / 33, 100 * 198 / 201, 100 * 190 / 202], abs=0.01
    )
    whiskers = [a["style"] for t, a in page.tags if a.get("class") == "ci"]
    left, width = (float(v) for v in re.findall(r"[\d.]+", whiskers[0]))
    assert (round(left, 1), round(left + width, 1)) == (93.0, 97.0)


def test_content_is_frozen():
    with pytest.raises(AttributeError, match="cannot assign"):
        samples.content().title = "other"
    assert replace(samples.content(), title="other").title == "other"


def test_what_holds_at_a_condition_stands_in_a_table_with_its_basis():
    content = samples.content()
    found = evaluate(
        content.predictions,
        conditions=Conditions({"COVID-19": 0.02}, (0.95,), benefit_at=(0.1,)),
        validation=content.predictions,
    )
    text = Page(render(replace(content, evaluation=found))).text
    assert "PPV at a prevalence of 2 % COVID-19" in text
    assert "sensitivity and specificity of this set, in which the share is 7.6 %" in text
    assert text.count("fixed on 436 validation images") == 6
    assert "Acting on nobody has 0." in text
    rows = condition_rows(found)
    assert sum(row["rows"] for row in rows) == len(rows)
    assert [row["rows"] for row in rows][2:5] == [3, 0, 0]


def test_an_evaluation_of_an_earlier_version_still_has_its_page():
    content = samples.content()
    plain = content.evaluation.to_dict()
    del plain["conditional"], plain["scores"]
    plain["estimates"] = [e for e in plain["estimates"] if e["measure"] != "average_precision"]
    older = Evaluation.from_dict(plain)
    html = render(replace(content, evaluation=older))
    assert "AUC" in measure_tables(older)["headings"]
    assert "AP" not in measure_tables(older)["headings"]
    assert "How sure it is" not in html
    assert "At a condition" not in html


def test_how_sure_it_is_stands_by_class_and_collection(page: Page):
    assert "How sure it is" in page.text
    assert "COVID-19, SIRM" in page.text
    assert "COVID-19, Cohen" in page.text


def test_measures_with_each_patient_once_stand_beside_those_of_images():
    truth = ["sick"] * 12 + ["well"] * 12
    prob = np.array([[0.9, 0.1]] * 8 + [[0.1, 0.9]] * 16)
    groups = ["a"] * 9 + ["b", "c", "d"] + [str(i) for i in range(12)]
    names = [f"i{k}" for k in range(24)]
    table = Predictions.from_arrays(
        ["sick", "well"], y_true=truth, y_prob=prob, images=names, groups=groups
    )
    content = replace(samples.content(), evaluation=evaluate(table))
    text = Page(render(content)).text
    assert "Each patient once" in text
    found = content.evaluation
    once = found.patient_weighted["sensitivity", "sick"]
    assert once.value == pytest.approx(8 / 9 / 4)
    (row,) = [
        row
        for row in measure_tables(found)["weighted"]
        if (row["name"], row["class"]) == ("Sensitivity", "sick")
    ]
    assert row["once"]["value"] == percent(once.value)
    assert row["image"]["value"] == percent(8 / 12)


def test_an_odds_ratio_without_upper_end_is_written_out():
    truth = ["sick"] * 12 + ["well"] * 12
    names = [f"i{k}" for k in range(24)]
    prob = np.array([[0.9, 0.1]] * 12 + [[0.1, 0.9]] * 9 + [[0.8, 0.2]] * 3)
    said = Predictions.from_arrays(
        ["sick", "well"], y_true=truth, y_prob=prob, images=names, groups=names
    )
    row = measure_tables(evaluate(said))
    cell = row["classes"][0]["cells"][row["headings"].index("DOR")]
    assert cell["value"] == "67.9"
    assert cell["interval"].startswith("from ")
    assert cell["interval"].endswith(" up")
    assert "0.5 is added" in cell["note"]
    assert "Miss rate" in [name for name, _ in row["words"]]
