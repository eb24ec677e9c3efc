"""What becomes of pixels in int16."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sluice.ophys.storage import Storage, choose_storage, shift_unsigned, to_stored


def restore(stored, storage):
    return stored.astype(np.float64) * storage.scale + storage.offset


@given(
    hnp.arrays(
        st.sampled_from([np.int32, np.uint32, np.float32, np.float64]),
        st.integers(2, 40),
        elements=st.integers(0, 2**31 - 1),
    )
)
def test_every_value_comes_back_within_the_error_it_states(values):
    is_integral = bool((values == np.rint(values)).all())
    low, high = float(values.min()), float(values.max())
    storage = choose_storage(low, high, is_integral=is_integral)
    restored = restore(to_stored(values, storage), storage)
    error = np.abs(restored - values.astype(np.float64)).max()
    # besides half a step, the rounding of float64
    assert error <= storage.max_error + 1e-9 * max(abs(low), abs(high))
    # half of one of 65,535 steps
    assert storage.max_error <= 7.7e-6 * (high - low)
    if is_integral and high - low <= 65535:
        assert storage.max_error == 0
        assert error == 0


@given(hnp.arrays(np.float64, st.integers(2, 30), elements=st.floats(-1e6, 1e6)))
def test_floats(values):
    storage = choose_storage(values.min(), values.max(), is_integral=False)
    if storage.scale > 0:
        error = np.abs(restore(to_stored(values, storage), storage) - values).max()
        assert error <= storage.max_error + 1e-9


@pytest.mark.parametrize(
    ("low", "high", "is_integral", "scale", "offset"),
    [
        (0, 32767, True, 1, 0),
        (-32768, 5, True, 1, 0),
        (0, 32768, True, 1, 32768),
        (0, 65535, True, 1, 32768),
        (100000, 165535, True, 1, 132768),
        (-40000, 10, True, 1, -7232),
        (0.0, 65535.0, False, 1, 32768),
    ],
)
def test_examples(low, high, is_integral, scale, offset):
    storage = choose_storage(low, high, is_integral=is_integral)
    assert (storage.scale, storage.offset) == (scale, offset)


def test_wide_whole_numbers_are_scaled():
    storage = choose_storage(0, 2**20, is_integral=True)
    assert storage.scale == pytest.approx(2**20 / 65535)
    assert storage.max_error == storage.scale / 2


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16])
def test_small_types_stay_as_they_are(dtype):
    limits = np.iinfo(dtype)
    values = np.array([limits.min, 0, 1, limits.max], dtype)
    np.testing.assert_array_equal(to_stored(values, Storage()), values)


def test_what_is_missing_does_not_overflow():
    values = np.array([np.nan, np.inf, -np.inf, 1e9, -1e9, 2.0], np.float32)
    assert to_stored(values, Storage()).tolist() == [0, 32767, -32768, 32767, -32768, 2]


def test_shift_unsigned(tmp_path, monkeypatch):
    """In pieces that do not divide the file."""
    monkeypatch.setattr("sluice.ophys.storage.CHUNK_BYTES", 14)
    values = np.array([0, 1, 32767, 32768, 65535] * 9, np.uint16)
    values.tofile(tmp_path / "a")
    storage = shift_unsigned(tmp_path / "a")
    stored = np.fromfile(tmp_path / "a", np.int16)
    np.testing.assert_array_equal(restore(stored, storage), values)
