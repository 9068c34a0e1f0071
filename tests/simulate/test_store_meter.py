"""What one store's own meter tells is what the column of all stores holds."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tieline.simulate.physics.storage import Storage

FRAC = st.floats(0.0, 1.0)


@given(st.lists(st.tuples(FRAC, FRAC, st.floats(0.5, 1.0), st.floats(1e2, 1e5)), min_size=1, max_size=20))
def test_one_store_has_what_the_column_says_of_it(drawn: list[tuple[float, float, float, float]]) -> None:
    soc, reserve, gives, size_wh = (np.array(column) for column in zip(*drawn, strict=True))
    count = len(drawn)
    ones = np.ones(count)
    stores = Storage(ones, ones, size_wh, soc, ones, gives, reserve, ones, ones > 0, 0 * ones)
    assert [stores.available_wh_of(at) for at in range(count)] == stores.available_wh().tolist()
