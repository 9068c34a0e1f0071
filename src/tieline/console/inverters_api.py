"""The API of inverter settings: volt-var, volt-watt and droop that devices are to follow by themselves."""

from __future__ import annotations

from tieline.console.auth.roles import Action
from tieline.console.done import Done
from tieline.console.problems import good
from tieline.console.table import Call, Route
from tieline.desk.inverters import SettingsView
from tieline.grid.inverter_settings import SettingsSet


def _wide(call: Call) -> str:
    """Return why a set needs a second person: by how many devices it is about; empty: it needs none."""
    return call.desk.reader.needs_two(call.desk.operator.settings_touch(call.body))


async def _send(call: Call) -> SettingsView:
    answer: SettingsView = good(await call.desk.operator.send_settings(call.body, call.name))
    return answer


async def _withdraw(call: Call) -> Done:
    return Done(await call.desk.operator.withdraw_settings(call.path("feeder"), call.name))


async def _settings(call: Call) -> list[SettingsView]:
    return call.desk.operator.inverter_settings()


_A = "/api/v1"
INVERTER_ROUTES: tuple[Route, ...] = (
    Route(
        "GET", f"{_A}/inverter-settings", Action.SEE_GRID, _settings,
        "Inverter settings of each feeder, the newest set, and how each device stands with them", list[SettingsView],
    ),
    Route(
        "POST", f"{_A}/inverter-settings", Action.LIMIT, _send,
        "Send a feeder's inverter settings, all or nothing; a newer version takes the place of the one before",
        SettingsView, SettingsSet, two=_wide, act="send_settings",
    ),
    Route(
        "POST", f"{_A}/inverter-settings/{{feeder}}/withdraw", Action.LIMIT, _withdraw,
        "Take a feeder's inverter settings back: devices get what their owners had", Done, subject="feeder",
        act="withdraw_settings",
    ),
)  # fmt: skip
