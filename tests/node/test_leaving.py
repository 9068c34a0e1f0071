"""A verb that has done its work ends with its own code, whatever threads of libraries are still about."""

import subprocess
import sys

import pytest

BEGIN = """
import sys
from tieline.rim.leaving import Leaving
leaving = Leaving()
import atexit, tempfile, os, threading, time
"""
# Workers of Arrow that read what Python holds, and go on reading while the interpreter would be taken apart: without
# leaving at once most such runs end with SIGABRT, and some never.
BUSY = """
import io, pyarrow as pa, pyarrow.parquet as pq
table = io.BytesIO()
pq.write_table(pa.table({str(k): list(range(1000)) for k in range(8)}), table, row_group_size=10)
class Slow(io.BytesIO):
    def read(self, *much):
        time.sleep(0.001)
        return super().read(*much)
def busy():
    while True:
        pq.read_table(Slow(table.getvalue()), pre_buffer=True)
for _ in range(4):
    threading.Thread(target=busy, daemon=True).start()
time.sleep(0.3)
"""


def ended(script: str) -> tuple[int, str, str]:
    done = subprocess.run([sys.executable, "-c", BEGIN + script], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("how", "code"),
    [("None", 0), ("sys.exit()", 0), ("sys.exit(3)", 3), ("sys.exit('no')", 1), ("[][0]", 1)],
)
def test_it_ends_with_its_own_code_after_all_that_was_to_be_done_at_the_end(how: str, code: int) -> None:
    script = f"""
atexit.register(print, "at the end")
threading.Thread(target=lambda: (time.sleep(0.2), print("waited for"))).start()
print("said", end="")
leaving.run(lambda: {how})
"""
    got, out, err = ended(script)
    assert (got, out) == (code, "saidwaited for\nat the end\n")
    assert ("no" in err) == (how == "sys.exit('no')")
    assert ("IndexError" in err) == (how == "[][0]")


def test_threads_of_libraries_that_are_still_at_work_change_nothing_of_it() -> None:
    for _ in range(5):
        assert ended(BUSY + "leaving.run(lambda: sys.exit(2))") == (2, "", "")


def test_a_child_of_it_is_not_taken_for_it() -> None:
    script = """
def forked():
    child = os.fork()
    if child == 0:
        sys.exit(5)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
leaving.run(forked)
"""
    assert ended(script)[0] == 5
