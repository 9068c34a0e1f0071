"""A disk that is full, fails or loses power: nothing acknowledged is lost, nothing of a refused append is kept."""

import os
import resource
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.resource.batch import Readings
from tieline.store.journal import StoreError
from tieline.store.segment import look_at, read_segment
from tieline.store.series import Wal


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
        # Of what was under way a batch is kept whole, as it was written, or not at all.
        starts = [0, *(end for _, end in ends)]
        assert found == [row for a, b in pairwise(starts) if a in found for row in range(a, b)]


@given(st.integers(0, 3_567), st.integers(1, 255), st.sampled_from(["flip", "drop", "insert"]))
def test_a_changed_byte_costs_the_batch_that_it_is_in_and_no_other_and_is_never_read(
    at: int, change: int, how: str
) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        wal = Wal(Path(name))
        for first in range(0, 40, 10):
            wal.append([readings(first, 10)])
        (path,) = wal.segments()
        raw, written = bytearray(path.read_bytes()), read_segment(path).to_pylist()
        assert len(raw) == 3_568
        if how == "flip":
            raw[at] ^= change
        elif how == "drop":
            del raw[at : at + 1]
        else:
            raw[at:at] = bytes([change])
        path.write_bytes(raw)
        segment = look_at(path)
        found = segment.table.to_pylist()
        batches = {row["row"] // 10 for row in found}
        assert found == [row for row in written if row["row"] // 10 in batches]
        assert len(batches) >= 3
        assert segment.lost or len(batches) == 4


def test_bytes_that_look_like_frames_are_passed_over_fast_enough(tmp_path: Path) -> None:
    wal = Wal(tmp_path)
    for first in range(0, 30, 10):
        wal.append([readings(first, 10)])
    (path,) = wal.segments()
    raw = path.read_bytes()
    path.write_bytes(raw[:1_192] + b"\xff" * 1_000_000 + raw[1_192:])
    segment = look_at(path)
    assert segment.table["row"].to_pylist() == list(range(30))
    assert (segment.holes, segment.lost) == (((1_192, 1_001_192),), 1_000_000)
