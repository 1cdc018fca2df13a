"""States and weights: whole or absent, and put back bit for bit."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from hurdles.errors import RunError
from hurdles.training.checkpoint import TrainingState, load_metadata, load_weights, save_weights


def network_and_optimiser(seed: int = 0):
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = torch.nn.Sequential(
            torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 2)
        ).to(memory_format=torch.channels_last)
    return network, torch.optim.Adam(network.parameters(), 0.01, fused=True)


def one_step(network, optimiser, seed: int) -> None:
    images = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    optimiser.zero_grad()
    network(images).square().sum().backward()
    optimiser.step()


class TestState:
    def test_it_comes_back_bit_for_bit(self, tmp_path):
        path = tmp_path / "state.safetensors"
        network, optimiser = network_and_optimiser()
        one_step(network, optimiser, 1)
        row = {"epoch": 1, "train_loss": 0.1 + 0.2, "seconds": 1e-17}
        best = {k: v.clone() * 2 for k, v in network.state_dict().items()}
        TrainingState(2, 3, [1 / 3, 2.0, 3.0, 4.0], [row], best).save(
            path, network, optimiser, "mine"
        )
        other, other_optimiser = network_and_optimiser(seed=9)
        found = TrainingState.load(path, other, other_optimiser, "mine")
        assert (found.epoch, found.step, found.rows) == (2, 3, [row])
        assert found.sums == [1 / 3, 2.0, 3.0, 4.0]
        assert all(torch.equal(found.best[k], best[k]) for k in best)
        for pair in ((network, optimiser), (other, other_optimiser)):
            one_step(*pair, 2)  # equal weights and moments go on alike
        for a, b in zip(network.parameters(), other.parameters(), strict=True):
            assert torch.equal(a, b)

    def test_moments_lie_in_memory_as_their_weights_do(self, tmp_path):
        network, optimiser = network_and_optimiser()
        one_step(network, optimiser, 1)
        TrainingState().save(tmp_path / "s", network, optimiser, "mine")
        other, other_optimiser = network_and_optimiser(seed=9)
        TrainingState.load(tmp_path / "s", other, other_optimiser, "mine")
        for parameter, moments in other_optimiser.state.items():
            assert moments["exp_avg"].stride() == parameter.stride()

    def test_a_state_of_another_training_is_refused_and_changes_nothing(self, tmp_path):
        network, optimiser = network_and_optimiser()
        TrainingState().save(tmp_path / "s", network, optimiser, "mine")
        other, other_optimiser = network_and_optimiser(seed=9)
        before = [p.clone() for p in other.parameters()]
        with pytest.raises(RunError, match="belongs to another training"):
            TrainingState.load(tmp_path / "s", other, other_optimiser, "yours")
        assert all(map(torch.equal, before, other.parameters()))

    def test_a_damaged_state_says_what_to_do(self, tmp_path):
        network, optimiser = network_and_optimiser()
        path = tmp_path / "s"
        TrainingState().save(path, network, optimiser, "mine")
        path.write_bytes(path.read_bytes()[:-10])
        with pytest.raises(RunError, match=r"s is damaged.*make what it belongs to again"):
            TrainingState.load(path, network, optimiser, "mine")


class TestWeights:
    def test_round_trip(self, tmp_path):
        weights = {
            "a": torch.rand(3, 4).t(),  # not contiguous
            "b": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
        }
        weights["c"] = weights["a"][:2]  # shares its memory
        save_weights(tmp_path / "w" / "best.safetensors", weights, {"epoch": "3", "who": "é"})
        found, meta = load_weights(tmp_path / "w" / "best.safetensors")
        assert meta == {"epoch": "3", "who": "é"}
        assert all(torch.equal(found[k], weights[k]) for k in weights)

    def test_missing(self, tmp_path):
        with pytest.raises(RunError, match=r"best is missing.*--resume"):
            load_weights(tmp_path / "best")

    @pytest.mark.parametrize("content", [b"", b"no weights", b"\x80\x04pickle"])
    def test_damaged(self, tmp_path, content):
        (tmp_path / "w").write_bytes(content)
        with pytest.raises(RunError, match="w is damaged"):
            load_weights(tmp_path / "w")

    def test_no_unfinished_file_stays(self, tmp_path, monkeypatch):
        import pathlib

        save_weights(tmp_path / "w", {"a": torch.zeros(2)}, {})

        def full(*_: object) -> None:
            raise OSError("disk full")

        monkeypatch.setattr(pathlib.Path, "write_bytes", full)
        with pytest.raises(OSError, match="disk full"):
            save_weights(tmp_path / "w", {"a": torch.ones(2)}, {})
        monkeypatch.undo()
        assert [p.name for p in tmp_path.iterdir()] == ["w"]
        assert load_weights(tmp_path / "w")[0]["a"].tolist() == [0, 0]


META = {str(n): "x" * n for n in range(9)}


class TestDamage:
    def test_the_same_weights_are_the_same_bytes_in_every_process(self, tmp_path):
        program = (
            "import sys, torch; from pathlib import Path\n"
            "from hurdles.training.checkpoint import save_weights\n"
            "meta = {str(n): 'x' * n for n in range(9)}\n"
            "save_weights(Path(sys.argv[1]), {'a': torch.arange(4.0)}, meta)"
        )
        for name in ("one", "two", "three"):
            call = [sys.executable, "-c", program, str(tmp_path / name)]
            subprocess.run(call, check=True)
        save_weights(tmp_path / "here", {"a": torch.arange(4.0)}, META)
        assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1

    def test_a_flipped_byte_anywhere_is_noticed(self, tmp_path):
        path = tmp_path / "weights"
        save_weights(path, {"a": torch.arange(4.0), "b": torch.ones(2, 3)}, META)
        whole = path.read_bytes()
        for position in range(8, len(whole)):
            if whole[position : position + 1] == b" ":
                continue  # the padding of the header
            content = bytearray(whole)
            content[position] ^= 1
            path.write_bytes(content)
            with pytest.raises(RunError, match="weights is damaged"):
                load_weights(path)

    def test_weights_of_an_earlier_version_are_read(self, tmp_path):
        from safetensors.torch import save_file

        save_file({"a": torch.arange(4.0)}, tmp_path / "weights", metadata={"hurdles": "0.1.0"})
        weights, meta = load_weights(tmp_path / "weights")
        assert torch.equal(weights["a"], torch.arange(4.0))
        assert meta == load_metadata(tmp_path / "weights") == {"hurdles": "0.1.0"}

    def test_nobody_is_told_to_delete_what_hurdles_did_not_write(self, tmp_path):
        (tmp_path / "model.pt").write_bytes(b"PK\x03\x04 a pickle of somebody else")
        with pytest.raises(RunError, match=r"model\.pt .*holds no weights") as caught:
            load_weights(tmp_path / "model.pt")
        assert "elete" not in str(caught.value).replace(str(tmp_path), "")
