"""Engines: the fast ways through a network give what torch gives, or are named and not used."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hurdles.errors import ModelError, RegistryError
from hurdles.evaluation.decisions import Threshold
from hurdles.models import ModelSpec, architectures, build
from hurdles.progress import Options
from hurdles.runs import engines, export
from hurdles.runs.engines import AUTO, ENGINES, FASTEST, REFERENCE, Engine, Engines
from hurdles.training.prediction import answers_and_features, embed, probabilities

LABELS = ("COVID-19", "Normal", "Pneumonia")
#: About the smallest images that each network takes; others get 64 pixels.
SIZES = {
    "baseline": 32,
    "inception-like": 32,
    "inception-as-coded": 32,
    "lenet-1024": 766,
    "lenet-1024-no-pooling": 16,
    "lenet-1024-strided": 385,
}


def network_of(architecture: str):
    size = SIZES.get(architecture, 64)
    try:
        spec = ModelSpec(architecture, LABELS, size=size, channels=3, mean=0.4, std=0.2)
        network = build(spec, seed=0)
    except Exception as error:
        pytest.skip(f"cannot be built here: {error}")
    # Statistics of batch normalization that differ from its first ones.
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                shape, generator = part.running_mean.shape, torch.Generator().manual_seed(1)
                part.running_mean.add_(0.1 * torch.randn(shape, generator=generator))
                part.running_var.mul_(0.5 + torch.rand(shape, generator=generator))
    return network.eval()


def images(network, n: int = 3) -> np.ndarray:
    size = network.spec.size
    return np.random.default_rng(0).integers(0, 256, (n, size, size), dtype=np.uint8)


@pytest.fixture
def small():
    return network_of("small")


@pytest.fixture
def options(tmp_path, monkeypatch) -> Options:
    monkeypatch.setattr(engines, "_SECONDS", 0.0)
    return Options(cache=tmp_path / "cache")


@pytest.fixture
def planted(monkeypatch):
    """Return a function that registers an engine for the time of a test."""

    def plant(name: str, make, **settings) -> None:
        monkeypatch.setitem(ENGINES._items, name, Engine(make, **settings))

    return plant


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """Return where each network's export is kept for the engines after the first."""
    return tmp_path_factory.mktemp("exports")


def only(monkeypatch, *names: str) -> None:
    monkeypatch.setattr(ENGINES, "_items", {name: ENGINES.get(name) for name in names})


def test_one_pass_gives_probabilities_and_features_to_the_bit(small):
    pixels = images(small, 5)
    answers, features = answers_and_features(small, pixels, batch_size=2)
    assert (answers == probabilities(small, pixels, batch_size=2)).all()
    assert (features == embed(small, pixels, batch_size=2)).all()


@pytest.mark.full
@pytest.mark.parametrize("name", list(ENGINES))
@pytest.mark.parametrize("architecture", architectures())
def test_every_engine_answers_every_network_as_torch_does(architecture, name, exports):
    if absence := replace(ENGINES.get(name), number_format="float32").absence():
        pytest.skip(absence)
    network = network_of(architecture)
    pixels = images(network)
    expected, features = answers_and_features(network, pixels)
    work = engines.Work(network, exports)
    encode = ENGINES.get(name).make(work)
    answers, theirs = answers_and_features(network, pixels, encode=encode)
    one, _ = answers_and_features(network, pixels[:1], encode=encode)
    is_exact = ENGINES.get(name).number_format == "float32"
    # In bfloat16 weights that were drawn, not trained, lose more (0.022 with AMX); in use that
    # would be refused.
    most = ENGINES.get(name).tolerance * (1 if is_exact else 3)
    assert np.abs(answers - expected).max() <= most
    assert np.abs(one - expected[:1]).max() <= most
    if is_exact:
        assert np.abs(theirs - features).max() <= 1e-4 * np.abs(features).max()
    if name == "onnxruntime":  # what `hurdles export` writes is that file, described
        spec = export.Spec(
            classes=LABELS,
            size=network.spec.size,
            input_name="image",
            output_name="logits",
            output="logits",
        )
        content = export.described(work.onnx, {"hurdles_spec": spec.to_toml()})
        assert export.largest_difference(content, spec, network, pixels) < 1e-4


def test_another_number_format_leaves_the_given_network_alone(small, options):
    before = {name: tensor.clone() for name, tensor in small.state_dict().items()}
    ENGINES.get("torch-bfloat16").make(engines.Work(small, options.cache))
    assert all(torch.equal(before[n], tensor) for n, tensor in small.state_dict().items())


def test_the_fastest_within_tolerance_is_chosen_and_named(small, options, planted, monkeypatch):
    only(monkeypatch, REFERENCE)
    planted("slow-torch", lambda work: work.network.features)
    rates = {REFERENCE: 10.0, "slow-torch": 20.0}
    monkeypatch.setattr(
        Engines,
        "_measured",
        lambda self, name, _: {"ready_s": 1.0, "export_s": 0.0, "images_per_s": rates[name]},
    )
    chosen = Engines(small, FASTEST, options).chosen(images(small), 3)
    assert (chosen.name, chosen.difference, chosen.n_images) == ("slow-torch", 0.0, 3)
    assert "Answered by slow-torch (torch " in chosen.lines()[0]
    assert chosen.to_dict()["tolerance"] == engines.TOLERANCE
    rates["slow-torch"] = 1.0  # measured once: a repeat chooses the same, whatever the clock says
    assert Engines(small, FASTEST, options).chosen(images(small), 3).name == "slow-torch"


def test_setup_counts_against_the_number_of_images(small, options, planted, monkeypatch):
    only(monkeypatch, REFERENCE)
    planted("late", lambda work: work.network.features)
    took = {
        REFERENCE: {"ready_s": 0.0, "export_s": 0.0, "images_per_s": 10.0},
        "late": {"ready_s": 10.0, "export_s": 170.0, "images_per_s": 100.0},
    }
    monkeypatch.setattr(Engines, "_measured", lambda self, name, _: took[name])
    names = [Engines(small, AUTO, options).chosen(images(small), n).name for n in (1000, 3000)]
    assert names == [REFERENCE, "late"]
    work = engines.Work(small, options.cache / "engines")
    work.file.write_bytes(b"an export")  # is made already
    assert Engines(small, AUTO, options).chosen(images(small), 1000).name == "late"


def test_a_repeat_chooses_as_the_call_that_timed(small, options, planted, monkeypatch):
    only(monkeypatch, REFERENCE)
    planted("late", lambda work: work.network.features)

    def measured(self, name, _):
        self._ready(name)
        rate = {REFERENCE: 10.0, "late": 100.0}[name]
        return {"ready_s": 1000.0 * (name == "late"), "export_s": 0.0, "images_per_s": rate}

    monkeypatch.setattr(Engines, "_measured", measured)
    calls = [Engines(small, AUTO, options) for _ in range(2)]
    assert [call.chosen(images(small), 1000).name for call in calls] == [REFERENCE] * 2
    assert calls[1].chosen(images(small), 100_000).name == "late"
    assert calls[1].chosen(images(small), 1000).name == "late"  # is ready since


def test_for_few_images_nothing_is_tried(small, options, monkeypatch):
    monkeypatch.setattr(Engines, "_measured", None)
    chosen = Engines(small, AUTO, options).chosen(images(small), 3)
    assert chosen.lines() == ["Answered by torch in float32, as in hurdles evaluate."]


def test_auto_takes_no_reduced_precision(small, options, planted, monkeypatch):
    only(monkeypatch, REFERENCE)
    planted("coarse", lambda work: work.network.features, number_format="bfloat16")
    monkeypatch.setattr(engines, "_has_bfloat16", lambda: True)
    rates = {REFERENCE: 10.0, "coarse": 1e6}
    monkeypatch.setattr(
        Engines,
        "_measured",
        lambda self, name, _: {"ready_s": 0.0, "export_s": 0.0, "images_per_s": rates[name]},
    )
    assert Engines(small, AUTO, options).chosen(images(small), 1000).name == REFERENCE
    assert Engines(small, FASTEST, options).chosen(images(small), 1000).name == "coarse"


def test_one_that_answers_otherwise_is_named_and_not_used(small, options, planted, monkeypatch):
    only(monkeypatch, REFERENCE)

    def wrong(work):
        return lambda x: work.network.features(x.flip(3)) + 1

    planted("wrong", wrong)
    planted("not-finite", lambda work: lambda x: work.network.features(x) * float("nan"))
    monkeypatch.setattr(engines, "_WORTH_TRYING", 1)
    monkeypatch.setattr(
        Engines,
        "_measured",
        lambda self, name, _: {
            "ready_s": 0.0,
            "export_s": 0.0,
            "images_per_s": 1.0 + (name != REFERENCE),
        },
    )
    chosen = Engines(small, AUTO, options).chosen(images(small), 3)
    assert chosen.name == REFERENCE
    assert set(chosen.passed_over) == {"wrong", "not-finite"}
    assert any("Engine wrong was passed over: it differs from" in line for line in chosen.lines())
    with pytest.raises(ModelError, match="engine 'wrong' cannot be used: it differs from torch"):
        Engines(small, "wrong", options).chosen(images(small), 3)


def test_call_after_call_an_engine_is_compared_until_it_has_answered_enough(
    small, options, planted, monkeypatch
):
    asked = []

    def other(work):
        def encode(x):
            asked.append(len(x))
            return work.network.features(x) + 1e-7

        return encode

    planted("other", other)
    engines_here, pixels = Engines(small, "other", options), images(small, 7)
    held = [engines_here.chosen(pixels[:n], n).n_images for n in (7, 7, 7, 1)]
    assert held == [7, 14, 16, 16]
    assert asked == [7, 7, 2]


def test_an_answer_that_is_no_number_is_torchs(small):
    pixels = images(small, 2)
    broken = engines.Chosen("onnxruntime", lambda x: small.features(x) * float("nan"))
    expected, features = answers_and_features(small, pixels)
    for threshold in (None, Threshold(LABELS[0], 0.5, "youden", 10, 5, 1.0, 1.0)):
        answers, theirs = broken.answers(small, pixels, threshold)
        assert (answers == expected).all()
        assert (theirs == features).all()


def test_one_that_crashes_is_named_and_the_next_is_taken(small, options, planted, monkeypatch):
    only(monkeypatch, REFERENCE)

    tried = []

    def crash(work):
        tried.append(work)
        raise MemoryError("no room\nfor this")

    planted("crashing", crash)
    monkeypatch.setattr(engines, "_WORTH_TRYING", 1)
    for _ in range(2):  # another time there may be room
        engines_here = Engines(small, AUTO, options)
        for _ in range(2):
            chosen = engines_here.chosen(images(small), 3)
            assert chosen.name == REFERENCE
            assert chosen.passed_over == {"crashing": "MemoryError: no room"}
    assert len(tried) == 2
    with pytest.raises(ModelError, match="MemoryError: no room"):
        Engines(small, "crashing", options).chosen(images(small), 3)


def test_what_is_not_there_is_told(small, options, planted):
    with pytest.raises(RegistryError, match=r"'tensorrt'\. Known: auto, fastest, torch"):
        Engines(small, "tensorrt", options)
    planted("absent", lambda work: None, packages=("no_such_package",))
    with pytest.raises(ModelError, match="not installed: no_such_package"):
        Engines(small, "absent", options).chosen(images(small), 3)


def test_a_network_is_exported_once_and_a_damaged_export_is_made_anew(options, monkeypatch):
    pytest.importorskip("onnxscript")
    network, made = network_of("small"), []

    def exported(given):
        made.append(given)
        return b"the network"

    monkeypatch.setattr(engines, "exported", exported)
    for _ in range(2):
        assert engines.Work(network, options.cache).onnx == b"the network"
    assert len(made) == 1
    (file,) = options.cache.glob("*.onnx")
    file.write_bytes(file.read_bytes()[:-1])
    assert engines.Work(network, options.cache).onnx == b"the network"
    with torch.no_grad():
        next(network.parameters()).add_(1)
    engines.Work(network, options.cache).onnx  # noqa: B018 - other weights are exported anew
    assert len(made) == 3
