"""The quick median is numpy's."""

import numpy as np
import pytest

from protocols.spots.median import median


@pytest.mark.parametrize("shape", [(1,), (2,), (7,), (36,), (5, 4), (64, 64)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_that_of_numpy(shape: tuple[int, ...], dtype: type[np.floating]) -> None:
    values = np.random.default_rng(shape[0]).normal(0, 3, shape).astype(dtype)
    before = values.copy()
    assert median(values) == np.median(values)
    np.testing.assert_array_equal(values, before)
