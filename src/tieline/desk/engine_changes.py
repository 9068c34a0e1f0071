"""How the facts of engines change a desk's state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tieline.desk.engine_facts import EngineStarted, EngineStopped
from tieline.desk.fact import Fact
from tieline.desk.state import DeskState


def _started(state: DeskState, record_id: str, fact: EngineStarted) -> None:
    state.engine_runs.note_started(fact)


def _stopped(state: DeskState, record_id: str, fact: EngineStopped) -> None:
    state.engine_runs.note_stopped(fact)


CHANGES: dict[type[Fact], Callable[[DeskState, str, Any], None]] = {EngineStarted: _started, EngineStopped: _stopped}
