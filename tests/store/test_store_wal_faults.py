"""A disk that is full, fails or loses power: nothing acknowledged is lost, nothing of a refused append is kept."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.resource.batch import Readings
from tieline.store.journal import StoreError
from tieline.store.series import Wal, read_segment


def readings(first: int, count: int) -> Readings:
    rows = np.arange(first, first + count, dtype=np.int32)
    when = np.arange(first, first + count, dtype=np.int64)
    codes, good = np.full(count, 3, np.uint16), np.zeros(count, np.uint32)
    return Readings(rows, codes, rows * 1.5, good, when, when, "test")


def kept(folder: Path) -> list[int]:
    return [row for path in Wal(folder).segments() for row in read_segment(path)["row"].to_pylist()]


def test_a_failed_sync_is_refused_typed_and_the_next_append_begins_anew(tmp_path: Path) -> None:
    fails = []

    def sync(handle: int) -> None:
        if fails:
            raise OSError(5, fails.pop())
        os.fsync(handle)

    wal = Wal(tmp_path, sync)
    wal.append([readings(0, 10)])
    fails.append("Input/output error")
    with pytest.raises(StoreError, match="Input/output error: readings were not kept"):
        wal.append([readings(10, 10)])
    assert kept(tmp_path) == list(range(10))
    assert wal.append([readings(20, 10)]) == 20
    assert kept(tmp_path) == [*range(10), *range(20, 30)]


FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_store_wal_faults import readings
from tieline.store.journal import StoreError
from tieline.store.series import Wal
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
wal = Wal(Path(sys.argv[1]))
wal.append([readings(0, 10)])
soft = wal._size + 5_000
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))
try:
    wal.append([readings(10, 2_000)])
except StoreError as error:
    print("refused", error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(wal.append([readings(5_000, 10)]))
"""


def test_a_file_that_cannot_grow_keeps_nothing_of_the_append_that_hit_the_end(tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    command = [sys.executable, "-c", FULL, str(tmp_path), str(Path(__file__).parent)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said[0].startswith("refused")
    assert said[1] == "20"
    assert kept(tmp_path) == [*range(10), *range(5_000, 5_010)]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.data())
def test_whatever_a_power_cut_leaves_of_unsynced_bytes_is_not_read_as_readings(
    sizes: list, data: st.DataObject
) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        wal, ends, rows = Wal(Path(name)), [], 0
        (folder,) = (Path(name),)
        for size in sizes:
            wal.append([readings(rows, size)])
            rows += size
            ends.append((os.stat(wal.segments()[0]).st_size, rows))
        durable = data.draw(st.integers(0, len(sizes) - 1))  # all appends after this one were under way, not synced
        safe, safe_rows = ends[durable]
        (path,) = wal.segments()
        raw = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(0, 3))):  # blocks that never reached the disk: zeros, or what was there
            start = data.draw(st.integers(safe, len(raw)))
            end = data.draw(st.integers(start, len(raw)))
            raw[start:end] = data.draw(st.sampled_from([b"\0", b"\xa5"])) * (end - start)
        path.write_bytes(raw[: data.draw(st.integers(safe, len(raw)))])
        found = kept(folder)
        assert found[:safe_rows] == list(range(safe_rows))
        assert found == list(range(len(found)))
