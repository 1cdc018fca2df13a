"""The JSON Schemas that ship: whole, closed, as the code writes, and closed to what it does not."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import fields, replace

import jsonschema
import pytest

from hurdles.data.inputs import Input, Role
from hurdles.data.schemas import read_json_object
from hurdles.errors import EvaluationError
from hurdles.evaluation.estimate import Estimate
from hurdles.evaluation.evaluation import SCHEMA as EVALUATION
from hurdles.evaluation.evaluation import Evaluation, evaluate
from hurdles.evaluation.metrics import METRICS
from hurdles.evaluation.predictions import Predictions
from hurdles.findings.finding import Beyond, Evidence, Finding, Limit, Scale, Verdict, counted
from hurdles.findings.table import SCHEMA as FINDINGS
from hurdles.findings.table import Findings

LIMIT = Limit(0.58, "calibrated", margin=0.64, margin_source="a choice")
FILE = Input(Role.PREDICTIONS, "p.csv", "a" * 64)
IMAGES = Input(Role.IMAGES, "ward", "b" * 64, 240)


def some_findings() -> Findings:
    """Return findings that use every key and every kind of verdict."""
    auc = Estimate(0.61, 0.55, 0.67, 0.95, "DeLong", 90, 80, "few")
    none = Estimate(math.nan, math.nan, math.nan, 0.95, "none", 0, 0, "why")
    evidence = (Evidence("a.png", "dark", ""),)
    rows = (
        Finding("one", "open", "AUC", auc, LIMIT, "Do.", evidence, {"x": [1, math.nan]},
                scale=Scale.AUC),
        Finding("one", "missing", "AUC", none, LIMIT),
        Finding("one", "unbounded", "odds", replace(auc, high=math.inf), None, scale=Scale.RATIO),
        Finding("two", "", "images", counted(3, n_images=9), Limit(0, "by definition", "below")),
        Finding("two", "fault", "nothing", none, None, is_fault=True),
    )  # fmt: skip
    questions = {"one": "One?", "two": "Two?", "empty": "Nothing?"}
    return Findings(rows, questions, {"images": "ward, 240 images"}, (IMAGES, FILE))


def an_evaluation() -> Evaluation:
    table = Predictions.from_arrays(
        ["sick", "well"], y_true=["sick", "sick", "well", "other"],
        y_prob=[[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.5, 0.5]], images=list("1234"),
        groups=list("abcd"),
    )  # fmt: skip
    return replace(evaluate(table), inputs=(IMAGES, FILE))


WRITTEN = {FINDINGS: some_findings().to_dict(), EVALUATION: an_evaluation().to_dict()}
BOTH = pytest.mark.parametrize("schema", [FINDINGS, EVALUATION], ids=lambda s: s.id)


def objects_of(schema: dict, place: str = "$"):
    """Yield every part of a schema that describes objects, with its place."""
    if schema.get("type") == "object":
        yield place, schema
    for key, inner in schema.items():
        for name, each in inner.items() if isinstance(inner, dict) else ():
            if isinstance(each, dict):
                yield from objects_of(each, f"{place}.{name}")
        if isinstance(inner, dict):
            yield from objects_of(inner, f"{place}.{key}")


@BOTH
def test_a_schema_is_one_of_its_draft_and_is_closed(schema):
    jsonschema.Draft202012Validator.check_schema(schema.content)
    assert schema.content["$id"] == schema.id
    assert schema.content["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    places = dict(objects_of(schema.content))
    assert len(places) > 2
    for place, part in places.items():
        if "properties" in part:
            assert part["additionalProperties"] is False, place
            assert set(part["required"]) <= set(part["properties"]), place
        else:  # names that the data give, or the details of a hurdle
            assert "additionalProperties" in part or place.endswith("details"), place


@BOTH
def test_every_key_is_described_in_a_sentence(schema):
    for place, part in objects_of(schema.content):
        for name, each in part.get("properties", {}).items():
            assert each.get("description", "").endswith("."), f"{place}.{name}"


@BOTH
def test_what_the_code_writes_is_valid_and_uses_every_key(schema):
    plain = json.loads(json.dumps(WRITTEN[schema], allow_nan=False))
    assert schema.faults(plain) == []
    used: dict[str, set[str]] = {}

    def collect(value: object, part: dict) -> None:
        if "$ref" in part:
            part = schema.content["$defs"][part["$ref"].rpartition("/")[2]]
        for option in part.get("anyOf", ()):
            if "$ref" in option and value is not None:
                collect(value, option)
        if isinstance(value, dict):
            used.setdefault(json.dumps(sorted(part.get("properties", {}))), set()).update(value)
            for key, inner in value.items():
                collect(inner, part.get("properties", {}).get(key, {}))
        for inner in value if isinstance(value, list) else ():
            collect(inner, part.get("items", {}))

    collect(plain, schema.content)
    for _, part in objects_of(schema.content):
        names = set(part.get("properties", {})) - {"report"}
        if names:
            assert used.get(json.dumps(sorted(part["properties"])), set()) >= names


def test_the_words_of_the_schema_are_those_of_the_code():
    parts = FINDINGS.content["$defs"]
    for part in (FINDINGS.content, EVALUATION.content):
        assert part["$defs"]["input"]["properties"]["role"]["enum"] == list(map(str, Role))
        assert set(part["$defs"]["input"]["properties"]) == {f.name for f in fields(Input)}
    finding = parts["finding"]["properties"]
    assert finding["verdict"]["enum"] == list(map(str, Verdict))
    assert finding["scale"]["enum"] == list(map(str, Scale))
    assert parts["limit"]["properties"]["beyond"]["enum"] == list(map(str, Beyond))
    assert set(parts["limit"]["properties"]) == {f.name for f in fields(Limit)}
    assert set(parts["estimate"]["properties"]) == {f.name for f in fields(Estimate)}
    assert set(finding) == {f.name for f in fields(Finding)} | {"verdict", "to_settle"}
    estimate = EVALUATION.content["properties"]["estimates"]["items"]["properties"]
    assert set(estimate) - {"measure", "class"} == set(parts["estimate"]["properties"])
    assert {row["measure"] for row in WRITTEN[EVALUATION]["estimates"]} <= set(METRICS)


def faulty(schema, change):
    plain = copy.deepcopy(WRITTEN[schema])
    change(plain)
    return schema.faults(plain)


def put(*path_and_value):
    *path, key, value = path_and_value

    def change(plain):
        for step in path:
            plain = plain[step]
        plain[key] = value

    return change


def drop(*path):
    *path, key = path

    def change(plain):
        for step in path:
            plain = plain[step]
        del plain[key]

    return change


FAULTS = [
    (FINDINGS, drop("findings", 0, "verdict"), "'verdict' is a required property"),
    (FINDINGS, drop("inputs"), "'inputs' is a required property"),
    (FINDINGS, drop("digest"), "'digest' is a required property"),
    (FINDINGS, put("findings", 0, "verdict", "passed"), "'passed' is not one of"),
    (FINDINGS, put("hurdles", 0, "verdict", "fine"), "'fine' is not one of"),
    (FINDINGS, put("findings", 0, "estimate", "value", "0.6"), "'0.6' is not of type"),
    (FINDINGS, put("findings", 0, "estimate", "value", math.nan), "is not a finite number"),
    (FINDINGS, put("findings", 0, "details", "x", [math.inf]), "x[0]: is not a finite number"),
    (FINDINGS, put("findings", 0, "estimate", "level", 95), "95 is greater than or equal"),
    (FINDINGS, put("findings", 0, "estimate", "n_images", -1), "-1 is less than the minimum"),
    (FINDINGS, put("findings", 0, "limit", {"value": 1}), "is not valid under any"),
    (FINDINGS, put("findings", 0, "sound", True), "'sound' was unexpected"),
    (FINDINGS, put("inputs", 0, "sha256", "B" * 64), "does not match"),
    (FINDINGS, put("inputs", 0, "role", "pixels"), "'pixels' is not one of"),
    (FINDINGS, put("inputs", 0, "path", "elsewhere"), "'path' was unexpected"),
    (FINDINGS, put("schema", "urn:hurdles:findings:2"), "'urn:hurdles:findings:1' was expected"),
    (FINDINGS, put("about", "images", 3), "3 is not of type 'string'"),
    (EVALUATION, drop("estimates", 0, "method"), "'method' is a required property"),
    (EVALUATION, drop("confusion"), "'confusion' is a required property"),
    (EVALUATION, put("confusion", 0, 0, 1.5), "1.5 is not of type 'integer'"),
    (EVALUATION, put("n_patients", 0), "0 is less than the minimum of 1"),
    (EVALUATION, put("estimates", 0, "low", math.nan), "is not a finite number"),
    (EVALUATION, put("notes", "fine"), "'fine' is not of type 'array'"),
    (EVALUATION, put("accuracy", 1.0), "'accuracy' was unexpected"),
]


@pytest.mark.parametrize(("schema", "change", "words"), FAULTS)
def test_a_planted_fault_is_refused(schema, change, words):
    found = faulty(schema, change)
    assert found
    assert any(words in fault for fault in found), found


def test_many_faults_are_named_in_part_and_shortly():
    plain = copy.deepcopy(WRITTEN[FINDINGS])
    plain["inputs"] = [{"role": "x" * 500}] * 40
    found = FINDINGS.faults(plain)
    assert len(found) == 20
    assert max(map(len, found)) < 200
    assert FINDINGS.faults([]) == ["$: [] is not of type 'object'"]


@BOTH
def test_a_file_of_another_schema_is_refused_and_one_of_none_is_read(schema):
    kind = Findings if schema is FINDINGS else Evaluation
    plain = copy.deepcopy(WRITTEN[schema])
    now = kind.from_dict(plain)
    assert now.to_dict() == plain
    with pytest.raises(
        EvaluationError, match=r"'urn:hurdles:x:9', and this version of hurdles rea"
    ):
        kind.from_dict({**plain, "schema": "urn:hurdles:x:9"})
    old = {k: v for k, v in plain.items() if k not in ("schema", "digest", "inputs")}
    assert kind.from_dict(old).to_dict()["inputs"] == []
    assert {**kind.from_dict(old).to_dict(), **plain} == plain


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "a": 2}', "a key stands twice"),
        ("[1]", "it holds no object but list"),
        ("{", "no JSON file of hurdles"),
        ("[" * 100_000, "no JSON file of hurdles"),
        ("\udcff", "no JSON file of hurdles"),
    ],
)
def test_what_is_no_object_is_refused(text, words, tmp_path):
    (tmp_path / "x.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(EvaluationError, match=words):
        read_json_object(tmp_path / "x.json")
    with pytest.raises(EvaluationError, match=r"gone\.json is no JSON file .*No such file"):
        read_json_object(tmp_path / "gone.json")
