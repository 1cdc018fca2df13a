"""Encoders of other libraries: the features are those of the original, and nothing is unpickled.

MONAI's networks, built here with random weights, stand for the originals under the names that
torchvision, timm and torchxrayvision give their parts; where those are installed, their own
networks are asked too.
"""

from __future__ import annotations

import copy
import importlib
import json
import pickle
import re
from functools import lru_cache, wraps

import pytest
import torch
from torch import nn

from hurdles.errors import RecipeError, RunError
from hurdles.models import build
from hurdles.models.importing import LIBRARIES, imported_encoder, read_state
from hurdles.models.starting import StartingWeights, apply_start, weights_hash
from hurdles.training.checkpoint import load_weights, save_weights

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZE = 96


def shaken(network: nn.Module) -> nn.Module:
    """Give every normalization statistics of its own, as training would."""
    generator = torch.Generator().manual_seed(7)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.copy_(
                torch.empty_like(part.running_mean).normal_(generator=generator) / 5
            )
            part.running_var.copy_(
                torch.empty_like(part.running_var).uniform_(0.5, 1.5, generator=generator)
            )
            part.weight.data.uniform_(0.5, 1.5, generator=generator)
    return network.eval()


def once(make):
    """Return a function that makes each network once and returns copies, which is quicker."""
    made = lru_cache(maxsize=4)(make)
    return wraps(make)(lambda *given, **named: copy.deepcopy(made(*given, **named)))


@once
def dense(channels: int = 3) -> nn.Module:
    from monai.networks.nets.densenet import DenseNet121

    with torch.random.fork_rng():
        torch.default_generator.manual_seed(1)
        return shaken(DenseNet121(spatial_dims=2, in_channels=channels, out_channels=14))


@once
def residual(layers=(2, 2, 2, 2), block: str = "basic", channels: int = 3) -> nn.Module:
    from monai.networks.nets.resnet import ResNet

    with torch.random.fork_rng():
        torch.default_generator.manual_seed(2)
        network = ResNet(
            block=block, layers=list(layers), block_inplanes=[64, 128, 256, 512], spatial_dims=2,
            n_input_channels=channels, conv1_t_stride=2, bias_downsample=False, num_classes=5,
        )  # fmt: skip
        network.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    return shaken(network)


def features_of(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return what the original's head sees, written out."""
    with torch.no_grad():
        if hasattr(network, "features"):
            return torch.relu(network.features(x)).mean((2, 3))
        x = network.maxpool(torch.relu(network.bn1(network.conv1(x))))
        return network.layer4(network.layer3(network.layer2(network.layer1(x)))).mean((2, 3))


def as_torchvision(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return a state under torchvision's names: MONAI has `layers` and `class_layers` besides."""
    return {
        name.replace(".layers.", ".").replace("class_layers.out", "classifier"): value
        for name, value in network.state_dict().items()
    }


def gray(n: int = 3) -> torch.Tensor:
    coarse = torch.rand(n, 1, 12, 12, generator=torch.Generator().manual_seed(3))
    return nn.functional.interpolate(coarse, size=SIZE, mode="bilinear")


def colored(x: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    return (x.expand(-1, 3, -1, -1) - mean) / std


def imported(path, state, **given):
    torch.save(state, path)
    return imported_encoder(path, **given)


@once
def fresh(spec) -> nn.Module:
    return build(spec, seed=9)


def ours(encoder, x):
    spec = type(encoder.start.spec)(**{**encoder.start.spec.to_dict(), "size": SIZE})
    network = fresh(spec)
    apply_start(network, encoder.start)
    with torch.no_grad():
        return network.eval().features(x)


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.fixture
def file(tmp_path):
    return tmp_path / "other.pt"


class TestFeatures:
    def test_of_torchxrayvision_one_channel_within_1024_exactly(self, file):
        network, x = dense(channels=1), gray()
        state = as_torchvision(network) | {"op_threshs": torch.rand(14)}
        encoder = imported(file, state, architecture="densenet-121", like="torchxrayvision")
        assert encoder.taken == 725
        assert encoder.left_over == ("classifier.weight", "classifier.bias", "op_threshs")
        assert (encoder.start.spec.mean, encoder.start.spec.std) == (0.5, 1 / 2048)
        theirs = features_of(
            network, (2 * x - 1) * 1024
        )  # as torchxrayvision.utils.normalize has it
        assert distance(ours(encoder, x), theirs) < 1e-5

    @pytest.mark.parametrize(
        ("architecture", "network"),
        [
            ("densenet-121", dense),
            ("resnet-18", residual),
            ("resnet-50", lambda: residual((3, 4, 6, 3), "bottleneck")),
        ],
    )
    @pytest.mark.parametrize("like", ["torchvision", "timm"])
    def test_of_three_channels_that_hold_one_gray_image(self, file, architecture, network, like):
        network, x = network(), gray()
        encoder = imported(file, as_torchvision(network), architecture=architecture, like=like)
        theirs = features_of(network, colored(x))
        # Beyond the border lies another gray in each channel; nothing else differs.
        assert distance(ours(encoder, x), theirs) < 5e-3
        plain = {**encoder.start.weights}
        first = next(iter(plain))
        assert plain[first].shape[1] == 1
        norm = first.replace("conv", "norm" if "dense" in architecture else "bn").replace(
            "weight", "running_mean"
        )
        plain[norm] = network.state_dict()[
            "features.norm0.running_mean" if "dense" in architecture else "bn1.running_mean"
        ]
        without = ours(replace_weights(encoder, plain), x)
        assert distance(without, theirs) > 2 * distance(ours(encoder, x), theirs)

    def test_of_three_channels_that_were_scaled_alike_exactly(self, file):
        network, x = residual(), gray()
        encoder = imported(
            file, network.state_dict(), architecture="resnet-18", like="torchvision",
            scaling=((0.5,), (0.25,)),
        )  # fmt: skip
        theirs = features_of(network, ((x - 0.5) / 0.25).expand(-1, 3, -1, -1))
        assert distance(ours(encoder, x), theirs) < 1e-5
        assert "border" not in " ".join(encoder.remarks)

    def test_of_radimagenet_by_number(self, file):
        network, x = residual((3, 4, 6, 3), "bottleneck"), gray()
        parts = [network.conv1, network.bn1, nn.ReLU(), network.maxpool]
        parts += [network.layer1, network.layer2, network.layer3, network.layer4]
        parts += [nn.AdaptiveAvgPool2d(1)]
        example = nn.Module()  # as RadImageNet's published example builds it
        example.backbone = nn.Sequential(*parts)
        encoder = imported(file, example.state_dict(), architecture="resnet-50", like="radimagenet")
        theirs = example.eval().backbone(((x - 0.5) * 2).expand(-1, 3, -1, -1)).flatten(1)
        assert distance(ours(encoder, x), theirs.detach()) < 1e-5
        assert encoder.left_over == ()

    def test_of_radimagenet_s_densenet_in_the_same_manner(self, file):
        network, x = dense(), gray()
        state = {
            name.replace("features.", "backbone.0."): value
            for name, value in as_torchvision(network).items()
            if not name.startswith("classifier")
        }
        encoder = imported(file, state, architecture="densenet-121", like="radimagenet")
        theirs = features_of(network, ((x - 0.5) * 2).expand(-1, 3, -1, -1))
        assert distance(ours(encoder, x), theirs) < 1e-5

    def test_of_monai_with_the_scaling_that_is_given(self, file):
        network, x = dense(channels=1), gray()
        given = {"architecture": "densenet-121", "like": "monai"}
        encoder = imported(file, network.state_dict(), **given, scaling=((0.0,), (1.0,)))
        assert distance(ours(encoder, x), features_of(network, x)) < 1e-5
        with pytest.raises(RecipeError, match=r"monai does not say how .* --mean 0\.5 --std"):
            imported_encoder(file, **given)


def replace_weights(encoder, weights):
    start = encoder.start
    new = StartingWeights(weights, start.spec, start.preparation, start.description)
    return type(encoder)(new, encoder.taken, (), (), ())


@pytest.mark.full
@pytest.mark.parametrize("library", ["torchvision", "timm"])
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "densenet121"])
def test_the_library_s_own_network_gives_the_same_features(file, library, name):
    pytest.importorskip(library, exc_type=ImportError)
    source = importlib.import_module(f"{library}{'.models' if library == 'torchvision' else ''}")
    make = getattr(source, name, None) or (lambda: source.create_model(name))
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(4)
        network, x = shaken(make()), gray()
    architecture = re.sub(r"(\d+)$", r"-\1", name)
    encoder = imported(file, network.state_dict(), architecture=architecture, like=library)
    network.fc = network.classifier = nn.Identity()
    with torch.no_grad():
        assert distance(ours(encoder, x), network(colored(x))) < 2e-2


class TestNames:
    @pytest.mark.parametrize(
        "prefix", ["", "module.", "model.", "backbone.", "module.encoder.net."]
    )
    def test_whatever_stands_before_them(self, file, prefix):
        state = {f"{prefix}{n}": v for n, v in residual().state_dict().items()}
        encoder = imported(file, state, architecture="resnet-18", like="torchvision")
        assert encoder.taken == 120
        assert encoder.left_over == (f"{prefix}fc.weight", f"{prefix}fc.bias")

    def test_the_table_inside_a_checkpoint(self, file):
        checkpoint = {"state_dict": residual().state_dict(), "epoch": 7, "optimizer": {"lr": 0.1}}
        assert imported(file, checkpoint, architecture="resnet-18", like="timm").taken == 120

    def test_several_tables_are_told_apart_by_name(self, file):
        state = residual().state_dict()
        other = {name: value * 0 for name, value in state.items()}
        torch.save({"model": state, "model_ema": other}, file)
        with pytest.raises(
            RunError, match=r"several tables of weights: model, model_ema\. .*--entry"
        ):
            read_state(file)
        assert read_state(file, entry="model")[0].keys() == state.keys()
        with pytest.raises(RunError, match="has no table of weights 'ema'"):
            read_state(file, entry="ema")

    def test_two_networks_in_one_table_are_refused(self, file):
        state = {
            f"{p}.{n}": v for p in ("query", "key") for n, v in residual().state_dict().items()
        }
        with pytest.raises(RecipeError, match=r"several networks.*'key\.', 'query\.'"):
            imported(file, state, architecture="resnet-18", like="torchvision")

    def test_safetensors_and_names_of_before_2018(self, tmp_path):
        from safetensors.torch import save_file

        state = as_torchvision(dense(channels=1))
        old = {
            re.sub(r"(denselayer\d+\.(?:norm|conv))", r"\1.", name): value.contiguous()
            for name, value in state.items()
            if "num_batches" not in name
        }
        save_file(old, tmp_path / "old.safetensors")
        given = {"architecture": "densenet-121", "like": "torchxrayvision"}
        encoder = imported_encoder(tmp_path / "old.safetensors", **given)
        assert len(encoder.filled) == 121
        assert "set to 0: 121 x num_batches_tracked" in " ".join(encoder.lines())
        torch.save(state, tmp_path / "new.pt")
        new = imported_encoder(tmp_path / "new.pt", **given)
        assert weights_hash(encoder.start.weights) == weights_hash(new.start.weights)

    def test_numbers_of_half_precision_become_float32(self, file):
        encoder = imported(
            file, residual().half().state_dict(), architecture="resnet-18", like="torchvision"
        )
        assert "numbers of float16 became float32" in encoder.remarks

    def test_what_it_became_of_goes_along(self, file, tmp_path):
        encoder = imported(
            file, residual().state_dict(), architecture="resnet-18", like="torchvision",
            license="BSD-3-Clause", origin="a friend",
        )  # fmt: skip
        out = tmp_path / "e.safetensors"
        save_weights(out, encoder.start.weights, encoder.start.to_metadata())
        again = StartingWeights.from_file(*load_weights(out), source="e.safetensors")
        assert again.origin == encoder.start.origin
        about = json.loads(load_weights(out)[1]["description"])
        assert (about["license"], about["from"]) == ("BSD-3-Clause", "a friend")
        assert about["left over"] == "fc.weight, fc.bias"
        assert re.fullmatch(r"[0-9a-f]{64}", about["sha256"])


class TestRefusals:
    def refused(self, file, state, message, *, error=RecipeError, **given):
        given = {"architecture": "resnet-18", "like": "torchvision", **given}
        with pytest.raises(error, match=message):
            imported(file, state, **given)

    def test_a_pickled_network_is_not_loaded(self, file):
        torch.save(residual(), file)
        lines = (
            r"torch\.load\('other\.pt'.*weights_only=False\)\n *torch\.save\(model\.state_dict\(\)"
        )
        with pytest.raises(RunError, match=rf"(?s)it needs monai\.\S+\).*any program.*{lines}"):
            imported_encoder(file, architecture="resnet-18", like="torchvision")

    def test_a_pickle_that_runs_code_is_not_run(self, file, tmp_path):
        class Bomb:
            def __reduce__(self):
                return (tmp_path.joinpath("boom").touch, ())

        for content in (pickle.dumps(Bomb()), None):
            torch.save({"conv1.weight": Bomb()}, file) if content is None else file.write_bytes(
                content
            )
            with pytest.raises(RunError, match="is not a plain table of weights"):
                imported_encoder(file, architecture="resnet-18", like="torchvision")
        assert not (tmp_path / "boom").exists()

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"<html>log in</html>", b"\x80\x02}q"])
    @pytest.mark.parametrize("name", ["x.pt", "x.safetensors"])
    def test_bytes_that_are_no_weights(self, tmp_path, content, name):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(RunError, match=re.escape(name)):
            imported_encoder(tmp_path / name, architecture="resnet-18", like="torchvision")

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(RunError, match="is not a file; give a state dict"):
            imported_encoder(tmp_path / "no.pt", architecture="resnet-18", like="timm")

    def test_a_library_or_a_network_that_is_not_read(self, file):
        self.refused(file, {}, "'keras' is not known; there are torchvision, timm", like="keras")
        for like, library in LIBRARIES.items():
            message = f"of {like} the encoders {', '.join(library.architectures)} are read"
            self.refused(file, {}, message, like=like, architecture="baseline")

    def test_what_is_missing_is_named(self, file):
        state = residual().state_dict()
        del state["layer2.0.conv1.weight"]
        self.refused(file, state, r"lacks 1 entries of resnet-18 \(layer2\.0\.conv1\.weight\)")

    def test_another_architecture(self, file):
        self.refused(file, residual().state_dict(), "may be resnet-18", architecture="resnet-50")
        self.refused(file, as_torchvision(dense()), "does not begin as resnet-18 does")

    def test_what_is_left_over_beyond_a_head_is_named_or_allowed(self, file):
        state = residual().state_dict() | {"decoder.0.weight": torch.ones(3)}
        self.refused(file, state, r"neither .* nor a head: decoder\.0\.weight\. .*--leave-out")
        encoder = imported(
            file, state, architecture="resnet-18", like="torchvision", leave_out=["decoder.*"]
        )
        assert "decoder.0.weight" in encoder.left_over

    @pytest.mark.parametrize("shape", [(64, 4, 7, 7), (32, 3, 7, 7)])
    def test_another_shape(self, file, shape):
        state = residual().state_dict() | {"conv1.weight": torch.ones(shape)}
        self.refused(file, state, r"conv1\.weight has shape .*\(1 or 3 channels\)")

    def test_numbers_that_are_none(self, file):
        state = residual().state_dict() | {"bn1.bias": torch.full((64,), float("nan"))}
        self.refused(file, state, r"bn1\.bias holds numbers that are not finite")

    @pytest.mark.parametrize(
        ("scaling", "message"),
        [
            (((0.5,), (0.0,)), "std positive"),
            (((0.5, 0.5), (1.0, 1.0)), r"2 numbers were given for 3 channel"),
            (((float("nan"),), (1.0,)), "must be finite"),
        ],
    )
    def test_a_scaling_that_cannot_be(self, file, scaling, message):
        self.refused(file, residual().state_dict(), message, scaling=scaling)
