"""Inverter settings sent to a served folder are adopted over Modbus, known after a kill -9, and given back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from test_serve_envelopes import live, serving, works
from test_serve_links import Body, until

import tieline.node.serve  # noqa: F401  loaded before the verb is, which then says nothing of loading it
from tieline.grid.inverter_settings import SettingsSet, of_curves, settings_text
from tieline.grid.settings import Curves
from tieline.links.device.sunspec_models import definition, model
from tieline.node.cli import main
from tieline.rim.clock import SystemClock
from tieline.simulate.sunspec_curves import StoredCurves
from tieline.simulate.sunspec_device import SunSpecDevice, SunSpecServer


def document(version: int, *resources: str) -> dict[str, Any]:
    chosen = tuple(of_curves(name, Curves().shifted(-0.01)) for name in resources)
    made = SettingsSet("feeder-1", version, "best_settings", "2026-06-01T00:00:00Z", chosen)
    sent: dict[str, Any] = json.loads(settings_text(made))
    return sent


async def stand(http: httpx.AsyncClient) -> dict[tuple[str, str], str]:
    (view,) = (await http.get("/inverter-settings")).json()
    return {(one["device"], one["function"]): one["stands"] for one in view["devices"]}


@pytest.mark.long
def test_settings_are_adopted_over_modbus_through_a_kill_minus_nine_and_given_back(tmp_path: Path) -> None:
    async def play() -> None:
        clock = SystemClock()
        models = {number: model(number) for number in (1, 701, 702, 703, 704, 713)}
        curves = {number: StoredCurves(number, definition(number), clock, adopt_s=0.5) for number in (705, 706)}
        units = SunSpecServer({1: SunSpecDevice(Body(), 5_000.0, 10_000.0, models, clock, curves=curves)})
        await units.start()
        place = works(tmp_path, units.port)
        at = curves[705].bank.name(1, "Pt[1].V")
        async with serving(place, is_first=True) as (child, http):
            await until(lambda: live(http, "modbus"), "the battery is not there")
            wrong = document(4, "battery-1")
            wrong["settings"][0]["volt_var"]["volt_pu"][0] = 0.5
            refused = await http.post("/inverter-settings", json=wrong)
            assert refused.status_code in (409, 422), refused.text
            assert refused.json()["field"] == "settings[0].volt_var.volt_pu[0]"
            sent = await http.post("/inverter-settings", json=document(4, "battery-1", "hybrid-1"))
            assert sent.status_code == 200, sent.text

            async def is_adopted() -> bool:
                stands = await stand(http)
                return stands.get(("battery-1", "volt_var")) == stands.get(("battery-1", "volt_watt")) == "adopted"

            await until(is_adopted, "the battery has not adopted its curves")
            assert (curves[705].value(at), curves[705].value("Ena"), curves[706].value("Ena")) == (91.0, 1.0, 1.0)
            assert (await stand(http))["hybrid-1", "volt_var"] == "refused"  # its link is a VTN
            child.kill()
            await child.wait()
        listed = CliRunner().invoke(main, ["settings", "list", "--data", str(place.folder), "--json"])
        (view,) = json.loads(listed.output)["settings"]
        assert (view["version"], view["counts"]) == (4, {"adopted": 2, "refused": 2})
        asked = curves[705].adopted
        async with serving(place) as (_, http):
            await until(lambda: live(http, "modbus"), "the battery is not there again")
            await asyncio.sleep(3.0)
            assert (await stand(http))["battery-1", "volt_var"] == "adopted" and curves[705].adopted == asked
            assert (await http.post("/inverter-settings/feeder-1/withdraw")).json()["done"] is True
            await until(lambda: curves[705].value("Ena") == 0.0, "the owner's curve is not back")
            assert curves[705].value(at) == 92.0

            async def is_told() -> bool:
                return (await stand(http)).get(("battery-1", "volt_watt")) == "given back"

            await until(is_told, "nobody is told that it was given back")
        units.stop()

    asyncio.run(play())


def test_verbs_send_list_and_withdraw_settings_of_a_folder_and_name_what_is_wrong(tmp_path: Path) -> None:
    place, run = works(tmp_path, 502), CliRunner()
    path, data = tmp_path / "settings.json", ["--data", str(place.folder), "--json"]
    path.write_text(json.dumps(document(1, "battery-1")))
    sent = run.invoke(main, ["settings", "send", str(path), "--by", "ann", *data])
    assert sent.exit_code == 0, sent.output
    assert json.loads(sent.output)["counts"] == {"asked": 2}
    path.write_text(json.dumps(document(1, "battery-1", "hybrid-1")))
    refused = run.invoke(main, ["settings", "send", str(path), "--by", "ann", *data])
    assert refused.exit_code != 0 and "this version is known with other content" in refused.output
    (view,) = json.loads(run.invoke(main, ["settings", "list", *data]).output)["settings"]
    assert (view["stands"], view["by"], view["resources"]) == ("in force", "ann", 1)
    gone = run.invoke(main, ["settings", "withdraw", "feeder-1", "--by", "ann", *data])
    assert json.loads(gone.output)["stands"] == "withdrawn"
    again = run.invoke(main, ["settings", "withdraw", "feeder-1", "--by", "ann", *data])
    assert again.exit_code != 0 and "no settings of it stand" in again.output
