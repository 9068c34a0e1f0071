"""What was learnt of devices is kept whole: read back to the bit, or refused as what it is."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.store.learnt import About, load, names_of, save

IDS = [f"load-{at}" for at in range(40)]


def about(count: int) -> About:
    return About(7, count, names_of(IDS, count))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=False), min_size=1, max_size=30), st.integers(0, 10))
def test_what_was_saved_comes_back_to_the_bit_though_devices_were_added_meanwhile(
    tmp_path_factory: pytest.TempPathFactory, watts: list[float], added: int
) -> None:
    path = tmp_path_factory.mktemp("learnt") / "learnt.bin"
    base_w, count = np.array(watts), len(watts)
    save(path, {"base_w": base_w, "known": np.ones(count, np.bool_)}, about(count))
    said, columns = load(path, IDS[: count + added])
    assert said == about(count)
    assert columns["base_w"].tobytes() == base_w.tobytes()
    assert columns["known"].dtype == np.bool_


def test_nothing_saved_is_nothing_and_not_a_fault(tmp_path: Path) -> None:
    assert load(tmp_path / "learnt.bin", IDS) is None


def test_the_columns_of_other_devices_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "learnt.bin"
    save(path, {"base_w": np.zeros(3)}, about(3))
    for others in (["x", *IDS[1:]], IDS[:2], IDS[::-1]):
        with pytest.raises(ValueError, match="of other devices than the registry names"):
            load(path, others)


@pytest.mark.parametrize("at", [2, 60, 0.5, -20])
def test_a_damaged_file_is_refused_wherever_it_is_damaged(tmp_path: Path, at: float) -> None:
    path = tmp_path / "learnt.bin"
    save(path, {"base_w": np.random.default_rng(1).normal(size=40)}, about(40))
    raw = bytearray(path.read_bytes())
    raw[int(at * len(raw)) if 0 < at < 1 else int(at)] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(ValueError, match="unreadable: its checksum does not hold"):
        load(path, IDS)


def test_a_file_that_was_cut_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "learnt.bin"
    save(path, {"base_w": np.zeros(40)}, about(40))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match="unreadable"):
        load(path, IDS)
