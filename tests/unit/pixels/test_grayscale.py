"""Look-up tables as they are found in files: every packing, depth and sign."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset

from hurdles.errors import TruncatedImageError
from hurdles.pixels.grayscale import read_lut


def item(data: object, descriptor: object, vr: str = "US", little: bool = True) -> Dataset:
    made = Dataset()
    made.set_original_encoding(False, little)
    made.add_new("LUTDescriptor", "US", descriptor)
    made.add_new("LUTData", vr, data)
    return made


RAMP = np.arange(256)
BYTES = RAMP.astype(np.uint8).tobytes()


@pytest.mark.parametrize(
    "made",
    [
        item(RAMP.tolist(), [256, 0, 8]),
        item(RAMP.astype("<u2").tobytes(), [256, 0, 8], "OW"),
        item(RAMP.astype("<u2").tobytes(), [256, 0, 16], "UN"),
        item(RAMP.astype(">u2").tobytes(), [256, 0, 8], "OW", little=False),
        item(BYTES, [256, 0, 8], "OW"),
        item(np.frombuffer(BYTES, "<u2").astype(">u2").tobytes(), [256, 0, 8], "OW", little=False),
        item(np.frombuffer(BYTES, "<u2").tolist(), [256, 0, 8]),
        item(BYTES, [256, 0, 12], "OW"),
    ],
    ids=["words", "OW", "UN", "big-endian", "packed", "packed big-endian", "packed US", "12 bits"],
)
def test_entries_are_unpacked_by_their_length(made: Dataset) -> None:
    table = read_lut(made)
    assert table is not None
    np.testing.assert_array_equal(table(np.arange(-9, 300)), np.clip(np.arange(-9, 300), 0, 255))


def test_an_odd_number_of_packed_entries() -> None:
    table = read_lut(item(BYTES[:101] + b"\0", [101, 0, 8], "OW"))
    assert table is not None
    assert table.entries.tolist() == list(range(101))


def test_a_count_of_0_means_65536_and_the_index_does_not_wrap() -> None:
    table = read_lut(item(np.arange(65536).astype("<u2").tobytes(), [0, 32768, 16], "OW"),
                     signed=True)  # fmt: skip
    assert table is not None
    assert table.first == -32768
    values = np.array([-32768, -1, 0, 32767], dtype=np.int16)
    assert table(values).tolist() == [0, 32767, 32768, 65535]


@pytest.mark.parametrize(("signed", "first"), [(True, -2048), (False, 63488)])
def test_a_negative_first_value_may_be_written_without_sign(signed: bool, first: int) -> None:
    table = read_lut(item([1, 2], [2, 63488, 12]), signed=signed)
    assert table is not None
    assert table.first == first


@pytest.mark.parametrize(
    ("bits", "highest", "top"),
    [(12, 4095, 4095), (12, 4000, 4095), (16, 4095, 4095), (16, 4000, 4000), (8, 4000, 4000)],
)
def test_white_is_the_announced_depth_or_else_the_real_maximum(
    bits: int, highest: int, top: int
) -> None:
    table = read_lut(item([0, highest], [2, 0, bits]))
    assert table is not None
    assert table.top == top


def test_what_is_no_table_is_none() -> None:
    assert read_lut(Dataset()) is None
    assert read_lut(item([1, 2], None)) is None
    assert read_lut(item(None, [2, 0, 8])) is None
    assert read_lut(item(b"", [2, 0, 8], "OW")) is None


def test_missing_entries_are_named() -> None:
    with pytest.raises(TruncatedImageError, match="has 100 of 4096 entries"):
        read_lut(item(list(range(100)), [4096, 0, 12]))
