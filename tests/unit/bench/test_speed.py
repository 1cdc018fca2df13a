"""The frame of `make bench`: sides take turns in processes of their own, and a page of them."""

import json
import os
import runpy
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[3] / "bench" / "speed"

SIDES = """
import os

def steady(value, fails=False):
    print("chatter of a library")
    if fails:
        raise RuntimeError("cannot be set up")
    def turn(seconds):
        print("more chatter")
        return value * seconds
    return turn

def where():
    return lambda seconds: ["80 % in a", f"threads {os.environ['OMP_NUM_THREADS']}"]
"""


@pytest.fixture
def bench(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCH))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "made_up_sides.py").write_text(SIDES)
    import page
    import pairs

    yield page, pairs, {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(BENCH)])}
    for name in ("page", "pairs"):
        sys.modules.pop(name)


def row_of(pairs, environment, *, goals=(), better="higher", **values):
    sides = tuple(
        pairs.Side(name, "made_up_sides:steady", {"value": value}, environment)
        for name, value in values.items()
    )
    return pairs.Row("row", "made-up work", "images/s", sides, goals, better, turns=3, seconds=2.0)


def test_each_side_has_every_turn_and_libraries_may_print(bench):
    _, pairs, environment = bench
    turns = list(pairs.take_turns(row_of(pairs, environment, hurdles=3.0, peer=1.0)))
    assert [(t.side, t.turn, t.value) for t in turns] == [
        ("hurdles", 0, 6.0),
        ("peer", 0, 2.0),
        ("peer", 1, 2.0),
        ("hurdles", 1, 6.0),
        ("hurdles", 2, 6.0),
        ("peer", 2, 2.0),
    ]
    assert all(turn.peak_mib > 1 and turn.wall_s > 0 for turn in turns)


def test_a_side_that_cannot_be_set_up_ends_the_row(bench):
    _, pairs, environment = bench
    options = {"value": 1.0, "fails": True}
    broken = pairs.Side("broken", "made_up_sides:steady", options, environment)
    row = pairs.Row("row", "work", "s", (broken,))
    with pytest.raises(SystemExit, match=r"broken \(made_up_sides:steady\) ended early"):
        list(pairs.take_turns(row))


@pytest.mark.parametrize(
    ("better", "ours", "peer", "ratio"), [("higher", 6.0, 2.0, 3.0), ("lower", 2.0, 6.0, 3.0)]
)
def test_ratios_say_how_many_times_better(bench, tmp_path, better, ours, peer, ratio):
    page, pairs, environment = bench
    goals = (pairs.Goal(2.9, over="peer"), pairs.Goal(3.1, over="peer"))
    row = row_of(pairs, environment, goals=goals, better=better, hurdles=ours, peer=peer)
    record = page.Record("avx2", tmp_path)
    turns = [
        pairs.Turn(name, 0, value, 1, 1, 50) for name, value in (("hurdles", ours), ("peer", peer))
    ]
    record.put(row, turns, load=0.5)
    assert record.ratios(row, "peer") == [pytest.approx(ratio)]
    assert [record.meets(row, goal) for goal in row.goals] == [True, False]


def test_a_goal_for_another_processor_is_neither_met_nor_missed(bench, tmp_path):
    page, pairs, environment = bench
    row = row_of(pairs, environment, goals=(pairs.Goal(1, on="avx512-bf16"),), hurdles=2.0)
    made = [pairs.Turn("hurdles", 0, 2.0, 1, 1, 50)]
    for kind, met in (("avx2", None), ("avx512-bf16", True)):
        record = page.Record(kind, tmp_path)
        record.put(row, made, load=0.5)
        assert record.meets(row, row.goals[0]) is met
    assert "| 1 x" not in page.write_page([row], tmp_path).read_text()


def test_seconds_and_memory_are_met_from_below(bench, tmp_path):
    page, pairs, environment = bench
    goals = (pairs.Goal(4, of="cpu_s"), pairs.Goal(40, of="peak_mib"))
    row = row_of(pairs, environment, goals=goals, hurdles=2.0)
    record = page.Record("avx2", tmp_path)
    record.put(row, [pairs.Turn("hurdles", 0, 2.0, 3.5, 1, 50)], load=0.5)
    assert [record.meets(row, goal) for goal in goals] == [True, False]


def test_the_page_holds_every_kind_what_is_missing_and_the_profile_of_a_missed_goal(
    bench, tmp_path
):
    page, pairs, environment = bench
    row = row_of(pairs, environment, goals=(pairs.Goal(5, over="peer"),), hurdles=3.0, peer=1.0)
    profiled = pairs.Row(**{**vars(row), "profile": "made_up_sides:where"})
    other = pairs.Row("other", "work of tomorrow", "s", row.sides)
    profile_of = pairs.profile_of
    page.profile_of = lambda row: profile_of(row, environment)
    for kind in ("avx2", "avx512-bf16"):
        page.Record(kind, tmp_path).measure(profiled)
    text = page.write_page([profiled, other], tmp_path).read_text()
    for line in (
        "## avx2",
        "## avx512-bf16",
        "3.00 [3.00, 3.00] (peer)",
        "| **no** |",
        "80 % in a",
        "threads 1",
        "- work of tomorrow",
    ):
        assert line in text
    assert len(json.loads((tmp_path / "bench.avx2.json").read_text())) == 1


@pytest.mark.usefixtures("bench")
def test_rows_have_names_of_their_own_and_sides_that_exist():
    main = runpy.run_path(str(BENCH / "__main__.py"), run_name="bench")
    rows = main["all_rows"]()
    assert len({row.name for row in rows}) == len(rows)
    for row in rows:
        assert all(goal.over in {side.name for side in row.sides[1:]} | {""} for goal in row.goals)
        for made in [side.make for side in row.sides] + [row.profile] * bool(row.profile):
            module, _, function = made.partition(":")
            files = [folder / f"{module}.py" for folder in (BENCH, BENCH.parent / "peers")]
            source = next(file for file in files if file.exists()).read_text()
            assert f"def {function}(" in source


@pytest.mark.parametrize(
    ("flags", "limit", "kind"),
    [
        ("avx2 avx512f avx512_bf16 amx_bf16", "", "amx"),
        ("avx2 avx512f avx512_bf16 amx_bf16", "AVX512_CORE_BF16", "avx512-bf16-restricted"),
        ("avx2 avx512f avx512_bf16 amx_bf16", "AVX2", "avx2-restricted"),
        ("avx2 avx512f avx512_bf16", "", "avx512-bf16"),
        ("avx2", "AVX2", "avx2"),
        ("neon", "", "other"),
    ],
)
def test_kinds_of_processors_and_their_stand_ins(bench, monkeypatch, flags, limit, kind):
    _, pairs, _ = bench
    monkeypatch.setattr(pairs.Path, "read_text", lambda *_, **__: flags)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert pairs.kind_of_processor() == kind


@pytest.mark.parametrize(
    ("kind", "goal", "counts"),
    [
        ("amx", "avx512-bf16", True),
        ("avx512-bf16-restricted", "avx512-bf16", True),
        ("avx2-restricted", "avx512-bf16", False),
        ("amx", "avx2", False),
    ],
)
def test_goals_of_a_smaller_kind_hold_for_amx(bench, tmp_path, kind, goal, counts):
    page, pairs, _ = bench
    row = pairs.Row("r", "r", "s", (pairs.Side("hurdles", "x:y"),), better="lower")
    record = page.Record(kind, tmp_path)
    record.turns = page.pd.DataFrame([{"row": "r", "side": "hurdles", "turn": 0, "value": 1.0}])
    assert record.meets(row, pairs.Goal(2, on=goal)) is (True if counts else None)
