"""The table of epochs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hurdles.errors import RunError
from hurdles.recipe.choices import ChosenBy
from hurdles.training.history import COLUMNS, History


def history(accuracy: list[float], loss: list[float] | None = None) -> History:
    rows = [
        {**dict.fromkeys(COLUMNS, 0.0), "epoch": n, "validation_accuracy": a, "validation_loss": b}
        for n, (a, b) in enumerate(zip(accuracy, loss or accuracy, strict=True), start=1)
    ]
    return History.from_rows(rows)


@pytest.mark.parametrize(
    ("accuracy", "loss", "best"),
    [
        ([0.1, 0.3, 0.2], [1, 1, 0], 2),
        ([0.3, 0.3, 0.3], [2, 1, 3], 2),
        ([0.3, 0.3, 0.3], [1, 1, 1], 1),
        ([0.5], [1], 1),
        ([0.5, 0.4], [float("nan"), 1.0], 2),
    ],
)
def test_the_best_epoch(accuracy, loss, best):
    assert history(accuracy, loss).best_epoch == best


def test_it_is_saved_to_the_last_bit(tmp_path):
    numbers = np.random.default_rng(0).random(300).tolist()
    made = history(numbers, [1 / 3 * n for n in numbers])
    path = made.save(tmp_path / "history.csv")
    pd.testing.assert_frame_equal(History.load(path).frame, made.frame, check_exact=True)


def test_what_is_missing_is_said():
    with pytest.raises(RunError, match="lacks 'seconds'"):
        History(history([1.0]).frame.drop(columns="seconds"))


@pytest.mark.parametrize("epochs", [[2, 1], [1, 3], [0, 1], [1, 1]])
def test_epochs_count_from_one(epochs):
    with pytest.raises(RunError, match="must be 1, 2, 3"):
        History(history([0.1, 0.2]).frame.assign(epoch=epochs))


@pytest.mark.parametrize("content", ["", "epoch\n1\n", 'a,b\n"1\n2,3,4', "\0\0\0"])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "history.csv"
    path.write_text(content)
    with pytest.raises(RunError, match=r"history\.csv is damaged"):
        History.load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RunError, match=r"history\.csv is missing"):
        History.load(tmp_path / "history.csv")


class TestChoice:
    FRAME = history([0.9, 0.8, 0.8], [0.3, 0.2, 0.1]).frame.assign(validation_auc=[0.7, 0.9, 0.9])

    @pytest.mark.parametrize(("by", "best"), [("accuracy", 1), ("auc", 3), ("loss", 3)])
    def test_the_best_epoch_is_best_in_what_was_asked(self, by, best):
        assert History(self.FRAME, ChosenBy(by)).best_epoch == best

    def test_of_equal_losses_the_first(self):
        assert History(self.FRAME.assign(validation_loss=0.5), ChosenBy.LOSS).best_epoch == 1

    def test_an_undefined_auc_is_worse_than_any(self):
        frame = self.FRAME.assign(validation_auc=[float("nan"), 0.1, float("nan")])
        assert History(frame, ChosenBy.AUC).best_epoch == 2

    def test_where_no_auc_is_defined_the_loss_decides(self):
        frame = self.FRAME.assign(validation_auc=float("nan"))
        assert History(frame, ChosenBy.AUC).best_epoch == 3

    @pytest.mark.parametrize("by", list(ChosenBy))
    def test_an_epoch_without_a_loss_is_the_worst(self, by):
        frame = history([1.0, 0.1], [float("nan"), 9.0]).frame.assign(validation_auc=[1.0, 0.1])
        assert History(frame, by).best_epoch == 2

    def test_what_it_is_chosen_by_is_said_again_on_loading(self, tmp_path):
        path = History(self.FRAME, ChosenBy.AUC).save(tmp_path / "history.csv")
        assert History.load(path, ChosenBy.AUC).best_epoch == 3

    def test_a_history_of_an_earlier_version_is_read(self, tmp_path):
        self.FRAME.drop(columns="validation_auc").to_csv(tmp_path / "history.csv", index=False)
        found = History.load(tmp_path / "history.csv")
        assert found.best_epoch == 1
        assert found.frame["validation_auc"].isna().all()


def test_a_cell_that_is_no_number_is_damage(tmp_path):
    path = history([0.5, 0.6]).save(tmp_path / "history.csv")
    path.write_text(path.read_text().replace("0.5", "0.56944444441.1156064910010173", 1))
    with pytest.raises(RunError, match=r"history\.csv is damaged \(could not convert"):
        History.load(path)
