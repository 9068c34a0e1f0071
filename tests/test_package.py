"""The tools agree on the house before anything is built in it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import pytest

import tieline
from tieline.compiled import compiled, compiled_unchecked


def test_the_package_has_a_version() -> None:
    assert tieline.__version__


def test_what_is_compiled_runs_where_numba_may_keep_nothing_on_disk() -> None:
    """A function of no file has no place for a cache, as one of a service that may not write has none."""
    made: dict[str, Any] = {}
    exec(compile("def twice(x):\n    return 2.0 * x\n", "<nowhere>", "exec"), made)
    with pytest.raises(RuntimeError, match="cannot cache"):
        numba.njit(cache=True)(made["twice"])
    assert compiled(made["twice"])(21.0) == 42.0


def test_what_is_compiled_calls_what_is_compiled_and_itself() -> None:
    made: dict[str, Any] = {}
    code = "def half(x):\n    return x / 2\ndef least(x):\n    return x if x < 1.0 else least(half(x))\n"
    exec(compile(code, "<nowhere>", "exec"), made)
    made["half"], made["least"] = compiled_unchecked(made["half"]), compiled(made["least"])
    assert made["least"](12.0) == 0.75


def test_a_folder_is_made_and_looked_at_without_the_compiler_and_the_database_libraries(tmp_path: Path) -> None:
    """A second and a half of each start would else go into loading them."""
    heavy = "('numba', 'duckdb', 'sqlalchemy', 'alembic', 'joserfc', 'scipy')"
    for words in (["init", str(tmp_path / "new")], ["doctor", "--data", str(tmp_path / "new")]):
        code = (
            f"import sys; from tieline.node.cli import main\n"
            f"try: main({words})\nfinally: print([m for m in {heavy} if m in sys.modules], file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stderr.strip() == "[]", words
