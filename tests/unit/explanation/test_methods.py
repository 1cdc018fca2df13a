"""Heat-maps against planted truths, slow twins and captum; damaged networks are named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from hurdles.errors import RecipeError, RegistryError
from hurdles.explanation.heatmap import HeatmapStatus
from hurdles.explanation.methods import explain, methods
from hurdles.models import ModelSpec, build
from hurdles.models.network import last_convolution

SIZE = 56
SPEC = ModelSpec("planted", ("left", "right"), size=SIZE)
QUADRANTS = {
    "upper left": (slice(0, 28), slice(0, 28)),
    "upper right": (slice(0, 28), slice(28, 56)),
    "lower left": (slice(28, 56), slice(0, 28)),
    "lower right": (slice(28, 56), slice(28, 56)),
}


class Planted(nn.Module):
    """A network whose first logit is the brightness of one quadrant; the second is constant."""

    def __init__(self, where: tuple[slice, slice], strength: float = 20.0) -> None:
        super().__init__()
        self.where, self.strength = where, strength
        self.last_convolution = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU())
        self.drop = nn.Dropout(0.5)
        nn.init.zeros_(self.last_convolution[0].bias)
        with torch.no_grad():
            # One map is the image, the other one speaks for the second class everywhere.
            self.last_convolution[0].weight.zero_()[:, :, 1, 1] = 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.drop(self.last_convolution(x))
        seen = maps[:, 0][:, *self.where].mean(dim=(1, 2)) * self.strength
        return torch.stack([seen, torch.zeros_like(seen)], dim=1)


class Textured(nn.Module):
    """A small network with random weights and overlapping, negative and positive evidence."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(4)  # every class has heat in the images below
            self.stem = nn.Conv2d(1, 4, 3, padding=1, stride=2)
            self.last = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.ReLU())
            self.head = nn.Linear(6 * 7 * 7, 3)

    @property
    def last_convolution(self) -> nn.Module:
        return self.last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.last(functional.relu(self.stem(x)))
        return self.head(functional.max_pool2d(maps, 4).flatten(1))


THREE = ModelSpec("textured", ("a", "b", "c"), size=SIZE)


def _pixels(n: int = 3, size: int = SIZE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 256, (n, size, size), dtype="uint8")


def _names(n: int) -> list[str]:
    return [f"image {i}" for i in range(n)]


def _input(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels)[:, None].float() / 255


def _blob() -> np.ndarray:
    """Return an image that is bright in the middle, so that its mean differs from every part."""
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    return (40 + 200 * np.exp(-(x**2 + y**2) / 500)).astype("uint8")[None]


@pytest.mark.parametrize("quadrant", QUADRANTS)
def test_occlusion_finds_the_planted_quadrant(quadrant):
    # Bright where the network looks, dark elsewhere: hiding it takes the evidence away.
    pixels = np.full((1, SIZE, SIZE), 20, dtype="uint8")
    pixels[0][QUADRANTS[quadrant]] = 220
    (found,) = explain(Planted(QUADRANTS[quadrant]), SPEC, pixels, images=["x"], method="occlusion")
    assert found.target == "left"
    assert found.values[QUADRANTS[quadrant]].sum() > 0.8 * found.values.sum()
    assert found.peak > 0.1


@pytest.mark.parametrize("quadrant", QUADRANTS)
def test_grad_cam_finds_the_planted_quadrant(quadrant):
    # Grad-CAM weighs whole maps, so the map itself must be dark where the network does not look.
    pixels = np.full((1, SIZE, SIZE), 20, dtype="uint8")
    pixels[0][QUADRANTS[quadrant]] = 220
    (found,) = explain(Planted(QUADRANTS[quadrant]), SPEC, pixels, images=["x"])
    assert found.target == "left"
    assert found.values[QUADRANTS[quadrant]].sum() > 0.75 * found.values.sum()


def test_occlusion_ignores_what_the_network_does_not_see_whatever_is_there():
    pixels = _pixels(1)
    pixels[0][QUADRANTS["lower right"]] = 255  # the most conspicuous part is not the planted one
    pixels[0][QUADRANTS["upper left"]] //= 2
    pixels[0][QUADRANTS["upper left"]] += 100
    module = Planted(QUADRANTS["upper left"])
    (found,) = explain(module, SPEC, pixels, images=["x"], target="right", method="occlusion")
    if found.is_drawable:
        assert found.values[28 + 4 :, 28 + 4 :].max() == 0


def _grad_cam_by_hand(module: nn.Module, x: torch.Tensor, target: int) -> np.ndarray:
    """Return Grad-CAM of one image as the paper writes it, element by element."""
    kept: list[torch.Tensor] = []

    def keep(_module, _inputs, output):
        output.retain_grad()
        kept.append(output)

    handle = last_convolution(module).register_forward_hook(keep)
    module(x)[0, target].backward()
    handle.remove()
    maps, gradient = kept[0][0].detach().double(), kept[0].grad[0].double()
    heat = torch.zeros(maps.shape[1:], dtype=torch.float64)
    for k in range(len(maps)):
        alpha = sum(float(g) for g in gradient[k].flatten()) / gradient[k].numel()
        heat += alpha * maps[k]
    heat = heat.clamp(min=0)[None, None]
    heat = functional.interpolate(heat, x.shape[-2:], mode="bilinear", align_corners=False)
    return heat[0, 0].numpy()


def _network(name: str) -> tuple[nn.Module, ModelSpec]:
    if name == "textured":
        return Textured(), THREE
    spec = ModelSpec(name, ("a", "b", "c"), size=SIZE)
    return build(spec, seed=2), spec


@pytest.mark.parametrize("name", ["textured", "baseline", "inception-like"])
@pytest.mark.parametrize("target", [0, 1, 2])
def test_grad_cam_equals_the_paper_written_out(name, target):
    module, spec = _network(name)
    pixels = _pixels(2)
    found = explain(module, spec, pixels, images=_names(2), target=spec.labels[target])
    module.eval()
    for row, heat in enumerate(found):
        expected = _grad_cam_by_hand(module, _input(pixels[row : row + 1]), target)
        assert heat.is_drawable
        np.testing.assert_allclose(heat.values, expected / expected.max(), atol=1e-5)
        assert heat.peak == pytest.approx(expected.max(), rel=1e-4)


def test_grad_cam_equals_captums():
    from captum.attr import LayerGradCam

    module, spec = _network("baseline")
    pixels = _pixels(3)
    found = explain(module, spec, pixels, images=_names(3), target="b")
    x = _input(pixels).requires_grad_()
    captum = LayerGradCam(module.eval(), last_convolution(module))
    raw = captum.attribute(x, target=1, relu_attributions=True).detach()
    raw = functional.interpolate(raw, (SIZE, SIZE), mode="bilinear", align_corners=False)[:, 0]
    for heat, expected in zip(found, raw.numpy(), strict=True):
        np.testing.assert_allclose(heat.values, expected / expected.max(), atol=1e-5)
        assert heat.peak == pytest.approx(expected.max(), rel=1e-4)


def _occlusion_by_hand(module: nn.Module, pixels: np.ndarray, target: int) -> np.ndarray:
    """Return the mean fall of the log-odds over the windows that cover each pixel, one by one."""
    side, step = pixels.shape[0] // 7, pixels.shape[0] // 14

    def odds(image: np.ndarray) -> float:
        with torch.no_grad():
            logits = module(torch.from_numpy(image)[None, None])[0].double()
        probabilities = logits.softmax(0)
        return float(torch.log(probabilities[target] / (1 - probabilities[target])))

    image = pixels.astype("float32") / 255
    fall, times = np.zeros(image.shape), np.zeros(image.shape)
    for top in range(0, image.shape[0] - side + 1, step):
        for left in range(0, image.shape[1] - side + 1, step):
            hidden = image.copy()
            hidden[top : top + side, left : left + side] = image.mean()
            fall[top : top + side, left : left + side] += odds(image) - odds(hidden)
            times[top : top + side, left : left + side] += 1
    assert times.min() >= 1
    return np.clip(fall / times, 0, None)


@pytest.mark.parametrize("target", [0, 1, 2])
def test_occlusion_equals_one_window_after_another(target):
    module = Textured().eval()
    pixels = _blob()
    (found,) = explain(
        module, THREE, pixels, images=["x"], target="abc"[target], method="occlusion"
    )
    expected = _occlusion_by_hand(module, pixels[0], target)
    cells = torch.from_numpy(expected[::4, ::4])[None, None]
    smooth = functional.interpolate(cells, (SIZE, SIZE), mode="bilinear", align_corners=False)
    assert found.is_drawable
    np.testing.assert_allclose(found.values * found.peak, smooth[0, 0], atol=2e-5)


@pytest.mark.parametrize("method", methods())
@pytest.mark.parametrize("size", [8, 20, 50])
def test_every_size_is_covered(method, size):
    class Sum(Planted):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen = self.last_convolution(x)[:, 0].pow(2).mean(dim=(1, 2)) * 50
            return torch.stack([seen, torch.zeros_like(seen)], dim=1)

    # Every pixel counts, and all by more than the mean would: every pixel must have heat.
    pixels = np.where(np.indices((size, size)).sum(0) % 2, 255, 0).astype("uint8")[None]
    spec = ModelSpec("sum", ("left", "right"), size=size)
    (found,) = explain(Sum(QUADRANTS["upper left"]), spec, pixels, images=["x"], method=method)
    assert found.values.shape == (size, size)
    if method == "occlusion":
        assert found.values.min() > 0


class Dead(Planted):
    """A network that answers the same to everything."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last_convolution(x).mean(dim=(2, 3)) * 0 + torch.tensor([1.0, 2.0])


class Detached(Planted):
    """A network whose answer has lost its graph."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.last_convolution(x)
        return torch.tensor([[1.0, 2.0]]).repeat(len(x), 1)


@pytest.mark.parametrize("method", methods())
@pytest.mark.parametrize("kind", [Dead, Detached])
def test_a_dead_network_gives_an_empty_map_and_says_so(method, kind):
    found = explain(kind(QUADRANTS["upper left"]), SPEC, _pixels(), images=_names(3), method=method)
    assert [m.status for m in found] == [HeatmapStatus.EMPTY] * 3
    which = "for or against" if method == "smoothgrad" else "for"
    assert {m.message for m in found} == {f"no pixel speaks {which} 'right'"}
    assert not any(m.values.any() for m in found)


def test_rounding_is_not_heat():
    # A sum over 64 x 64 pixels differs in its last bits with the order in which it is added.
    class Rounding(Planted):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            noise = 1e-6 * (x * torch.linspace(0.3, 1, SIZE)).mean(dim=(1, 2, 3))
            return torch.stack([3 + noise, torch.zeros_like(noise)], dim=1)

    module = Rounding(QUADRANTS["upper left"])
    (found,) = explain(module, SPEC, _pixels(1), images=["x"], method="occlusion")
    assert found.status is HeatmapStatus.EMPTY


@pytest.mark.parametrize("method", methods())
@pytest.mark.parametrize("target", ["predicted", "b"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_damaged_weights_are_named(method, target, value):
    module, spec = _network("baseline")
    with torch.no_grad():
        module.conv2.weight[0, 0, 0, 0] = value
    found = explain(module, spec, _pixels(2), images=_names(2), target=target, method=method)
    for heat in found:
        assert heat.status is HeatmapStatus.NOT_FINITE
        assert heat.target == ("" if target == "predicted" else "b")
        assert "not numbers for this image" in heat.message
        assert not heat.values.any()


@pytest.mark.parametrize("method", methods())
def test_one_damaged_image_does_not_spoil_its_neighbours(method):
    class Brittle(Planted):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits = super().forward(x)
            return torch.where(x.mean(dim=(1, 2, 3))[:, None] > 0.9, float("nan"), logits)

    pixels = _pixels(3)
    pixels[1] = 255
    module = Brittle(QUADRANTS["upper left"])
    found = explain(module, SPEC, pixels, images=_names(3), target="left", method=method)
    assert [m.status for m in found] == ["ok", "not finite", "ok"]


def test_a_gradient_that_is_not_a_number_is_named_though_the_answer_is_one():
    class Root(Planted):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            dark = (self.last_convolution(x)[:, 0] * 0).sqrt().mean(dim=(1, 2))
            return torch.stack([dark, dark - 1], dim=1)

    (found,) = explain(Root(QUADRANTS["upper left"]), SPEC, _pixels(1), images=["x"])
    assert found.status is HeatmapStatus.NOT_FINITE
    assert found.target == "left"
    assert found.message == f"{SIZE * SIZE} of {SIZE * SIZE} values of the map are not numbers"


@pytest.mark.parametrize("method", methods())
def test_the_same_twice_and_in_any_batch(method):
    module, spec = _network("textured")
    pixels = _pixels(5)
    first, again, singly = (
        explain(module, spec, pixels, images=_names(5), method=method, batch=batch)
        for batch in (16, 16, 1)
    )
    for a, b, c in zip(first, again, singly, strict=True):
        assert np.array_equal(a.values, b.values)
        assert a.peak == b.peak
        assert (a.image, a.target) == (c.image, c.target)
        np.testing.assert_allclose(a.values, c.values, atol=1e-4)


@pytest.mark.parametrize("method", methods())
def test_the_module_is_left_as_it_was(method):
    module, spec = _network("baseline")
    module.train()
    module.conv2.eval()  # frozen on purpose
    module.conv1.requires_grad_(False)
    training = [m.training for m in module.modules()]
    wanted = [p.requires_grad for p in module.parameters()]
    state = torch.random.get_rng_state()
    with torch.no_grad():
        found = explain(module, spec, _pixels(1), images=["x"], method=method)
    assert found[0].is_drawable
    assert [m.training for m in module.modules()] == training
    assert [p.requires_grad for p in module.parameters()] == wanted
    assert all(p.grad is None for p in module.parameters())
    assert not any(m._forward_hooks for m in module.modules())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_flags_and_hooks_come_back_after_an_error():
    class Failing(Planted):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if torch.is_grad_enabled():
                raise RuntimeError("out of memory")
            return super().forward(x)

    module = Failing(QUADRANTS["upper left"])
    with pytest.raises(RuntimeError, match="out of memory"):
        explain(module, SPEC, _pixels(1), images=["x"])
    assert module.training
    assert not module.last_convolution._forward_hooks


@pytest.mark.parametrize("method", methods())
def test_frozen_weights_and_inference_mode_make_no_difference(method):
    module, spec = _network("baseline")
    (expected,) = explain(module, spec, _pixels(1), images=["x"], method=method)
    module.requires_grad_(False)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        (found,) = explain(module, spec, _pixels(1), images=["x"], method=method)
    assert np.array_equal(found.values, expected.values)


def test_a_later_in_place_operation_does_no_harm():
    class InPlace(Textured):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            maps = self.last(functional.relu(self.stem(x))).mul_(1.0)
            return self.head(functional.max_pool2d(maps, 4).flatten(1))

    (expected,) = explain(Textured(), THREE, _pixels(1), images=["x"])
    (found,) = explain(InPlace(), THREE, _pixels(1), images=["x"])
    np.testing.assert_allclose(found.values, expected.values, atol=1e-6)


@pytest.mark.parametrize("method", methods())
def test_targets_predicted_named_and_one_for_each(method):
    module, spec = _network("textured")
    pixels = _pixels(4)
    with torch.no_grad():
        answers = [spec.labels[i] for i in module.eval()(_input(pixels)).argmax(1)]
    make = {"images": _names(4), "method": method}
    predicted = explain(module, spec, pixels, **make)
    assert [m.target for m in predicted] == answers
    each = explain(module, spec, pixels, **make, target=["c", "a", "b", "a"])
    assert [m.target for m in each] == ["c", "a", "b", "a"]
    named = explain(module, spec, pixels, **make, target="a")
    assert np.array_equal(named[1].values, each[1].values)
    assert not np.allclose(named[0].values, each[0].values)


def test_no_images_give_no_maps():
    nothing = np.zeros((0, SIZE, SIZE), dtype="uint8")
    assert explain(Textured(), THREE, nothing, images=[]) == []


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"target": "d"}, RegistryError, "no class of this network is called 'd'. Known: a, b, c"),
        ({"target": ["a", "b", "d"]}, RegistryError, "called 'd'"),
        ({"target": ["a"]}, RecipeError, "1 targets were given for 3 images"),
        ({"method": "gradcam"}, RegistryError, "did you mean 'grad-cam'"),
        ({"images": ["x"]}, RecipeError, r"shape \(1, 56, 56\), but these are uint8 of shape \(3"),
        ({"pixels": _pixels(size=48)}, RecipeError, "prepare them with size=56"),
        ({"pixels": _pixels() / 255}, RecipeError, "these are float64"),
        ({"spec": SPEC}, RecipeError, r"answers with shape \(3, 3\); 3 images and 2 labels"),
    ],
)
def test_what_does_not_fit_is_said(changes, error, message):
    given = {"module": Textured(), "spec": THREE, "pixels": _pixels(), "images": _names(3)}
    with pytest.raises(error, match=message):
        explain(**{**given, **changes})


def test_a_last_convolution_that_runs_twice_or_never_is_refused():
    class Twice(Planted):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.last_convolution(x)
            return super().forward(x)

    with pytest.raises(RecipeError, match="ran 2 times"):
        explain(Twice(QUADRANTS["upper left"]), SPEC, _pixels(1), images=["x"])


def test_a_network_without_a_convolution_still_has_occlusion():
    class Mean(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            left = x[..., : SIZE // 2].mean(dim=(1, 2, 3))
            return 9 * torch.stack([left, torch.zeros_like(left)], dim=1)

    with pytest.raises(RecipeError, match="use a heat-map method that needs no gradient"):
        explain(Mean(), SPEC, _pixels(1), images=["x"])
    (found,) = explain(Mean(), SPEC, _blob(), images=["x"], target="left", method="occlusion")
    assert found.values[:, :28].sum() > 0.8 * found.values.sum()
