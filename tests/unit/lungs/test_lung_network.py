"""The lung network and the file of its weights."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from hurdles.errors import RunError
from hurdles.lungs.training import SIZE, LungNet, load_lungs, save_lungs


@pytest.fixture(scope="module")
def network() -> LungNet:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return LungNet(width=2).eval()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 0.25 + 0.5 * torch.rand(2, 1, SIZE, SIZE, generator=generator)


def test_it_answers_for_every_pixel(network, images):
    assert network(images).shape == images.shape


def test_exposure_makes_no_difference(network, images):
    with torch.inference_mode():
        plain, other = network(images), network(images * 0.4 + 0.3)
    torch.testing.assert_close(other, plain, atol=1e-4, rtol=1e-3)


def test_an_image_does_not_depend_on_its_batch(network, images):
    with torch.inference_mode():
        torch.testing.assert_close(network(images)[1:], network(images[1:]))


def test_a_blank_image_gives_numbers(network):
    with torch.inference_mode():
        assert network(torch.full((1, 1, SIZE, SIZE), 0.5)).isfinite().all()


def test_a_network_needs_a_channel():
    with pytest.raises(ValueError, match="at least one channel"):
        LungNet(width=0)


def test_weights_come_back_as_half_precision_of_what_was_saved(tmp_path, network, images):
    save_lungs(tmp_path / "w.safetensors", network, {"epoch": "3 of 4"})
    again, meta = load_lungs(tmp_path / "w.safetensors")
    assert meta["epoch"] == "3 of 4"
    assert meta["width"] == "2"
    assert not again.training
    for name, tensor in network.state_dict().items():
        kept = again.state_dict()[name]
        assert kept.dtype == tensor.dtype
        assert torch.equal(kept, tensor.half().float() if tensor.is_floating_point() else tensor)
    stored = load_file(tmp_path / "w.safetensors")
    assert {t.dtype for t in stored.values()} == {torch.float16, torch.int64}
    with torch.inference_mode():
        torch.testing.assert_close(again(images), network(images), atol=0.02, rtol=0.02)


def test_missing_damaged_foreign_and_partial_files_are_refused(tmp_path, network):
    with pytest.raises(RunError, match=r"none\.safetensors is missing.*train-lungs"):
        load_lungs(tmp_path / "none.safetensors")
    save_lungs(tmp_path / "w.safetensors", network, {})
    whole = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-100])
    with pytest.raises(RunError, match=r"cut\.safetensors is damaged"):
        load_lungs(tmp_path / "cut.safetensors")
    tensors = load_file(tmp_path / "w.safetensors")
    save_file(tensors, tmp_path / "foreign.safetensors", metadata={"kind": "something else"})
    with pytest.raises(RunError, match=r"does not hold lung weights.*something else"):
        load_lungs(tmp_path / "foreign.safetensors")
    tensors.pop("last.bias")
    meta = {"kind": "hurdles lungs 1", "width": "2"}
    save_file(tensors, tmp_path / "part.safetensors", metadata=meta)
    with pytest.raises(RunError, match="lacks weights"):
        load_lungs(tmp_path / "part.safetensors")


def test_the_shipped_weights_load_and_are_small():
    network, meta = load_lungs()
    assert set(meta) >= {"recipe", "data", "epoch", "validation_dice", "hurdles"}
    assert all(tensor.isfinite().all() for tensor in network.state_dict().values())
    assert sum(2 * p.numel() for p in network.parameters()) < 4_000_000
