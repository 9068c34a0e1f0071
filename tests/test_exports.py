"""What rooms show to a notebook: each name is there, hides no module, and costs nothing until it is asked for."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOMS = ["tieline.forecast", "tieline.grid", "tieline.plan"]


@pytest.mark.parametrize("room", ROOMS)
def test_every_name_that_a_room_shows_is_there_and_is_no_module_of_it(room: str) -> None:
    package = importlib.import_module(room)
    modules = {path.stem for path in Path(package.__path__[0]).glob("*.py")}
    assert dir(package) == sorted(package.__all__) == sorted(package._WHERE) and len(package.__all__) > 10
    for name in package.__all__:
        assert name not in modules, f"{room}.{name} is a module as well: which of both it is would depend on imports"
        shown, where = getattr(package, name), package._WHERE[name].partition(":")
        assert shown is getattr(importlib.import_module(f"{room}.{where[0]}"), where[2] or name)
    with pytest.raises(AttributeError, match=f"{room} has no plan_everything: it has "):
        _ = package.plan_everything


def test_a_room_loads_neither_numpy_nor_numba_until_a_name_is_asked_for() -> None:
    code = (
        f"import sys, {', '.join(ROOMS)}\n"
        "assert not {'numpy', 'numba', 'highspy'} & set(sys.modules)\n"
        "from tieline.plan import plan_stores\n"
        "assert 'numpy' in sys.modules and 'numba' not in sys.modules and 'tieline.plan.pool' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
