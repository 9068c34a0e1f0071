"""Puts this folder on the path, so that its tests share their recording intake."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(params=["block", "steps"])
def writes(request: pytest.FixtureRequest) -> str:
    """A function's registers in one request, by callbacks; or one by one, by the device's own task."""
    import modbus_room

    modbus_room.WRITES = request.param
    return modbus_room.WRITES
