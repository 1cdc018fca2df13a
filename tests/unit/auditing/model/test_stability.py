"""Seeds that agree pass, seeds that do not are hit; a single run says how to get more."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from answering import answering, drawn, found_by

from hurdles.auditing.model.stability import stability
from hurdles.errors import HurdleError
from hurdles.findings.finding import Verdict


def shaken(said, strength, seed):
    """Return the same answers with other luck."""
    rng = np.random.default_rng(seed)
    z = np.log(said[:, 0] / said[:, 1]) + strength * rng.normal(size=len(said))
    p = 1 / (1 + np.exp(-z))
    return np.stack([p, 1 - p], axis=1)


def test_seeds_that_hardly_matter_pass():
    truth, said = drawn(200, 1)
    subject = answering(truth, said, siblings=[shaken(said, 0.1, s) for s in range(5)])
    ratio, share = found_by(stability, subject)
    assert ratio.verdict is Verdict.CLEARED
    assert ratio.estimate.value < 0.1
    assert share.limit is None
    assert 0 < share.estimate.value < 0.1
    assert " or " in share.evidence[0].says
    assert ratio.details["seeds"] == 6


def test_seeds_that_decide_everything_are_hit():
    truth, said = drawn(200, 1)
    # Some seeds learn, others do not.
    siblings = [
        said if s % 2 else np.full_like(said, 0.5) + shaken(said, 99, s) / 1e3 for s in range(9)
    ]
    siblings = [p / p.sum(axis=1, keepdims=True) for p in siblings]
    ratio, share = found_by(stability, answering(truth, said, siblings=siblings))
    assert ratio.verdict is Verdict.HIT
    assert share.estimate.value > 0.2


def test_disagreement_is_counted_pair_by_pair():
    truth, said = drawn(40, 2)
    siblings = [shaken(said, 1.0, s) for s in range(3)]
    _, share = found_by(stability, answering(truth, said, siblings=siblings))
    runs = [p.argmax(axis=1) for p in (said, *siblings)]
    counted = [
        (runs[a][i] != runs[b][i]) for i in range(40) for a in range(4) for b in range(a + 1, 4)
    ]
    assert share.estimate.value == pytest.approx(np.mean(counted))
    assert share.estimate.low < share.estimate.value < share.estimate.high


def test_three_seeds_say_how_unsure_they_are():
    truth, said = drawn(200, 1)
    subject = answering(truth, said, siblings=[shaken(said, 1.0, s) for s in range(2)])
    ratio, _ = found_by(stability, subject)
    assert ratio.estimate.high / ratio.estimate.low > 100
    assert "F of 2 and 199" in ratio.estimate.method


def test_equal_seeds_have_no_variance():
    truth, said = drawn(100, 1)
    ratio, share = found_by(stability, answering(truth, said, siblings=[said, said]))
    assert (ratio.estimate.value, share.estimate.value) == (0, 0)
    assert ratio.estimate.note == "all seeds have the same area"
    assert share.estimate.high > 0
    assert share.evidence == ()


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_seeds_say_how_to_get_them(n):
    truth, said = drawn(50, 1)
    with pytest.raises(HurdleError, match=f"{n} runs .* another training.seed, run it"):
        found_by(stability, answering(truth, said, siblings=[said] * n))
