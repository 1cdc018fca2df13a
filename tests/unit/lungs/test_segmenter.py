"""The segmenter: the right weights, once, from several threads, whatever the image's shape."""

from __future__ import annotations

import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import hurdles.lungs.training
from hurdles.errors import RunError
from hurdles.lungs.find import SIZE, Segmenter
from hurdles.lungs.training import LungNet, save_lungs


class Planted(nn.Module):
    """Calls lung what is bright, so that a test plants the answer in the image."""

    def __init__(self, threshold: float = 0.5) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(threshold))
        self.shapes: list[tuple[int, ...]] = []
        self.modes: list[bool] = []
        self.busy = 0
        self.most = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.busy += 1
        self.most = max(self.most, self.busy)
        self.shapes.append(tuple(x.shape))
        self.modes.append(self.training or torch.is_grad_enabled())
        time.sleep(0.002)
        self.busy -= 1
        return (x - self.threshold) * 50


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Planted:
    network = Planted()
    network.loads = 0  # type: ignore[assignment] # a Module types its attributes as tensors

    def load(path: Path | None = None) -> tuple[Planted, dict[str, str]]:
        network.loads += 1  # type: ignore[operator] # as above
        return network, {}

    monkeypatch.setattr(hurdles.lungs.training, "load_lungs", load)
    return network


def radiograph(shape: tuple[int, int] = (256, 256), *, shift: float = 0.0) -> NDArray[np.float32]:
    """Two bright triangles with an apex; `shift` moves them down, as a share of the height."""
    height, width = shape
    image = np.full(shape, 0.1, np.float32)
    for side in (-1, 1):
        share = [(0.5 + side * x, y + shift) for x, y in ((0.06, 0.15), (0.35, 0.75), (0.06, 0.65))]
        corners = [(round(x * (width - 1)), round(y * (height - 1))) for x, y in share]
        cv2.fillPoly(image, [np.array(corners)], 0.9)
    return image


@pytest.mark.parametrize("shape", [(256, 256), (300, 200), (90, 700), (1, 1), (2, 5000)])
def test_a_mask_is_square_whatever_the_image_is(planted, shape):
    lungs = Segmenter()(radiograph(shape))
    assert lungs.mask.shape == (SIZE, SIZE)
    assert lungs.mask.dtype == bool
    if min(shape) > 2:
        assert lungs.is_plausible
        assert lungs.box == pytest.approx((45, 190, 45, 211), abs=12)


def test_the_size_is_that_of_the_network():
    assert SIZE == hurdles.lungs.training.SIZE


def test_nothing_is_loaded_before_the_first_call_and_then_once(planted):
    segmenter = Segmenter()
    assert planted.loads == 0
    for _ in range(3):
        segmenter(radiograph())
        segmenter.key  # noqa: B018  # reading it may load
    assert planted.loads == 1


def test_the_network_runs_in_evaluation_mode_without_gradients(planted):
    planted.train()
    Segmenter()(radiograph())
    assert planted.modes == [False]


def test_a_batch_gives_what_one_by_one_gives_in_order(planted):
    segmenter = Segmenter()
    images = [radiograph((200 + 7 * i, 150), shift=0.004 * i) for i in range(35)]
    alone = [segmenter(image) for image in images]
    planted.shapes.clear()
    together = segmenter.masks(images)
    assert [shape[0] for shape in planted.shapes] == [16, 16, 3]
    assert all((a.mask == b.mask).all() for a, b in zip(alone, together, strict=True))
    assert len({lungs.box for lungs in together}) > 10  # or the order could not be told


def test_the_size_of_the_batch_does_not_move_an_edge(tmp_path):
    weights = tmp_path / "w.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_lungs(weights, LungNet(width=4), {})
    segmenter = Segmenter(weights)
    rng = np.random.default_rng(0)
    squares = [rng.random((SIZE, SIZE), dtype=np.float32) for _ in range(3)]
    together = segmenter.probabilities(squares)
    alone = np.concatenate([segmenter.probabilities([each]) for each in squares])
    assert np.ptp(together) > 0.01  # not one value everywhere, which any format would keep
    assert np.abs(together - alone).max() < 1e-5  # bfloat16 is off by 5e-4 here


def test_an_empty_batch_is_empty(planted):
    segmenter = Segmenter()
    assert segmenter.masks([]) == []
    assert segmenter.probabilities([]).shape == (0, SIZE, SIZE)


@pytest.mark.parametrize("is_batch", [False, True])
def test_threads_share_one_network_side_by_side_and_take_turns_with_batches(planted, is_batch):
    segmenter = Segmenter()
    images = [radiograph(shift=0.01 * i) for i in range(12)]
    start = threading.Barrier(6)

    def work(image: NDArray[np.float32]) -> Any:
        if start.n_waiting or not planted.shapes:
            start.wait(timeout=10)
        return (segmenter.masks([image])[0] if is_batch else segmenter(image)).box

    with ThreadPoolExecutor(6) as pool:
        boxes = list(pool.map(work, images[:6])) + [segmenter(i).box for i in images[6:]]
    assert planted.loads == 1
    assert planted.most == 1 or not is_batch
    assert boxes == [Segmenter()(image).box for image in images]


def test_one_image_is_worked_on_in_the_calling_thread_alone(planted):
    threads: list[int] = []
    planted.register_forward_hook(lambda *_: threads.append(torch.get_num_threads()))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(Segmenter(), radiograph()).result()
        after = pool.submit(torch.get_num_threads).result()
    assert threads == [1]
    assert after == torch.get_num_threads()


def test_probabilities_are_those_of_the_logits(planted):
    square = np.full((SIZE, SIZE), 0.5, np.float32)
    square[0, 0] = 0.75
    found = Segmenter().probabilities([square])
    assert found.dtype == np.float32
    assert found[0, 5, 5] == pytest.approx(0.5)
    assert found[0, 0, 0] > 0.99


def test_the_key_follows_the_weights_and_not_the_file(tmp_path):
    torch_networks = [LungNet(width=2), LungNet(width=2)]
    files = [tmp_path / name for name in ("a.safetensors", "b.safetensors", "c.safetensors")]
    save_lungs(files[0], torch_networks[0], {"trained": "on Monday"})
    save_lungs(files[1], torch_networks[0], {"trained": "on Tuesday"})
    save_lungs(files[2], torch_networks[1], {})
    first, same, other = (Segmenter(file).key for file in files)
    assert first == same != other
    assert first.startswith("lungs-")


def test_the_key_follows_the_clean_up(planted, monkeypatch):
    before = Segmenter().key
    monkeypatch.setattr("hurdles.lungs.find.CLEANING_VERSION", 99)
    assert Segmenter().key != before


def test_missing_weights_are_said_at_the_first_use(tmp_path):
    segmenter = Segmenter(tmp_path / "none.safetensors")
    for _ in range(2):  # and said again, not half loaded
        with pytest.raises(RunError, match=r"none\.safetensors is missing"):
            segmenter(radiograph())


def test_a_segmenter_travels_to_other_processes(planted, tmp_path):
    segmenter = Segmenter()
    segmenter(radiograph())
    again = pickle.loads(pickle.dumps(segmenter))
    assert again.key == segmenter.key
