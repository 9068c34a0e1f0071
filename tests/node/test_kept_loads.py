"""What a served folder's devices drew is foretold from its own readings; what was called and what lacks is left out."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import numpy as np
import pytest
from click.testing import CliRunner
from data_folder import data_folder
from msgspec.structs import replace
from test_serve_trades import PASSWORD, gateway, running

from tieline.desk.ports import Award
from tieline.desk.programs import EventState, ProgramEvent
from tieline.desk.state import DeskState
from tieline.fleet.claims import ClaimBook
from tieline.fleet.columns import Fleet
from tieline.fleet.ledger import Ledger
from tieline.node.cli import main
from tieline.node.kept_loads import Logged, called, drawn_kwh, series_of
from tieline.resource.batch import Readings
from tieline.resource.point import code
from tieline.rim.clock import SystemClock
from tieline.store import registry
from tieline.store.series import Historian, Wal
from tieline.times import HOUR_NS, MINUTE_NS, from_ns, market_day

ZONE = ZoneInfo("America/Chicago")
TABLE = """id,kind,fuel,max_inject_w,max_absorb_w,energy_wh,feeder,site,owner,pool
battery-1,battery,,500000,500000,2000000,feeder-1,site-1,ann,pool-1
load-1,interruptible_load,none,0,2000000,0,feeder-2,site-2,bob,pool-1
load-2,interruptible_load,none,0,2000000,0,feeder-2,site-2,bob,pool-1
"""
SETTINGS = 'name = "works"\nzone = "America/Chicago"\njurisdiction = "US-TX"\nport = 0\n'
START_NS = 1_700_006_400_000_000_000  # a whole hour: 2023-11-15T00:00Z
DAYS = 30


def shape_w(at_ns: int) -> float:
    """What load-1 draws: by day more than by night, half of it at weekends."""
    wall = from_ns(at_ns).astimezone(ZONE)
    return (500_000.0 + 1_000_000.0 * (8 <= wall.hour < 18)) * (0.5 if wall.weekday() >= 5 else 1.0)


def fleet_of(tmp_path: Path) -> tuple[Path, Fleet]:
    folder, _ = data_folder(tmp_path, TABLE)
    (folder / "tieline.toml").write_text(SETTINGS)
    return folder, registry.load(folder / "registry.bin")


def readings(rows: list[int], values: list[float], at_ns: list[int]) -> Readings:
    count, taken = len(rows), np.array(at_ns, np.int64)
    points = np.full(count, code("power_w"), np.uint16)
    return Readings(
        np.array(rows, np.int32), points, np.array(values), np.zeros(count, np.uint32), taken, taken, "test"
    )


def told(*words: object) -> dict:
    done = CliRunner().invoke(main, ["forecast", *map(str, words), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_an_hour_counts_where_nine_tenths_of_the_rating_are_read_and_log_and_hours_are_one(tmp_path: Path) -> None:
    folder, fleet = fleet_of(tmp_path)
    wal, historian = Wal(folder / "readings"), Historian(folder / "historian")
    steps = [START_NS + k * 15 * MINUTE_NS for k in range(8)]
    # load-2 lacks three quarters of the second hour; the battery gives 100 kW, and a third hour is in the log alone.
    for row, watts, count in ((0, 1e5, 8), (1, -1e6, 8), (2, -5e5, 5)):
        wal.append([readings([row] * count, [watts] * count, steps[:count])])
    historian.compact(wal)
    for row in range(3):
        wal.append([readings([row] * 4, [-2e5] * 4, [at + 2 * HOUR_NS for at in steps[:4]])])
    hours = Logged.of(wal, historian)
    assert hours.span_ns() == (START_NS, START_NS + 3 * HOUR_NS)
    groups = {"all": np.arange(3, dtype=np.int32), "load-1": np.array([1], np.int32)}
    found = drawn_kwh(hours, fleet, groups, START_NS, START_NS + 3 * HOUR_NS)
    assert found["load-1"].tolist() == [1_000.0, 1_000.0, 200.0]
    assert found["all"][[0, 2]].tolist() == [1_400.0, 600.0] and np.isnan(found["all"][1])
    # Of a fourth hour the battery lacks: it is scaled up to the whole.
    wal.append([readings([1, 2] * 4, [-9e5, -9e5] * 4, [at + 3 * HOUR_NS for at in steps[:4] for _ in "ab"])])
    fleet.max_inject_w[0] = fleet.max_absorb_w[0] = 400_000.0  # 400 of 4,400 kW: less than a tenth lacks
    found = drawn_kwh(Logged.of(wal, historian), fleet, groups, START_NS, START_NS + 4 * HOUR_NS)
    assert found["all"][3] == pytest.approx(1_800.0 * 4_400 / 4_000)


def test_called_hours_are_gaps_for_whoever_was_called_alone(tmp_path: Path) -> None:
    folder, fleet = fleet_of(tmp_path)
    state = DeskState.empty(fleet, ClaimBook(fleet), Ledger())
    wal, historian = Wal(folder / "readings"), Historian(folder / "historian")
    at_ns = [START_NS + k * 15 * MINUTE_NS for k in range(5 * 4)]
    wal.append([readings([row] * len(at_ns), [-1e6] * len(at_ns), at_ns) for row in (1, 2)])
    event = ProgramEvent("e", "p", "feeder-1", "share", START_NS, START_NS + HOUR_NS, 1e3, "ann", EventState.COMPLETED)
    state.events["e"] = event
    state.events["denied"] = replace(event, group="feeder-2", state=EventState.DENIED)
    assert called(state, fleet.leaves("feeder-2")) == []
    half = START_NS + 2 * HOUR_NS + 30 * MINUTE_NS
    state.awards["a"] = Award("a", "o", "pool-1", "ENERGY", half, half + HOUR_NS, 1e6, 50.0)
    assert called(state, fleet.leaves("pool-1")) == [(START_NS, START_NS + HOUR_NS), (half, half + HOUR_NS)]
    hours = Logged.of(wal, historian)
    (load,) = series_of(hours, state, ["load-1"], hours.span_ns(), ZoneInfo("UTC"))
    assert load.starts_ns[0] == START_NS and load.flags == ("1 called intervals are left out",)
    assert np.isnan(load.kwh[[2, 3]]).all() and load.kwh[[0, 1]].tolist() == [1_000.0, 1_000.0]


def test_a_folder_that_a_server_fills_is_foretold_beside_it_and_afterwards(tmp_path: Path) -> None:
    folder, _ = fleet_of(tmp_path)
    today = from_ns(SystemClock().now_ns()).astimezone(ZONE).date()

    async def play() -> None:
        async with (
            running("-m", "tieline", "serve", "--data", str(folder)) as (url, secret),
            httpx.AsyncClient(timeout=60) as http,
        ):
            api = f"{url}/api/v1"
            await http.post(f"{api}/enrol", json={"secret": secret, "password": PASSWORD})
            token = await gateway(http, url)
            for back in range(DAYS, 0, -1):
                over = market_day(today - timedelta(days=back), ZONE)
                at_ns = list(range(over.start_ns, over.end_ns, 15 * MINUTE_NS))
                values = [-shape_w(at) for at in at_ns] + [0.0] * len(at_ns) * 2
                names = [name for name in ("load-1", "load-2", "battery-1") for _ in at_ns]
                body = {"point": "power_w", "resource": names, "value": values, "taken_at_ns": at_ns * 3}
                answer = await http.post(f"{api}/readings", json=body, headers=token)
                assert answer.json()["taken"] == len(values), answer.text
            beside = await asyncio.to_thread(told, "--data", folder)
            assert beside["day"] == str(today) and beside["timezone"] == "America/Chicago"

    asyncio.run(play())
    after = told("--data", folder, "--of", "load-1", "--of", "feeder-1", "--level", "meter")
    load, battery = after["series"]
    assert (load["series"], battery["series"]) == ("load-1", "feeder-1")
    score = told("score", "--data", folder, "--days", "16")
    assert score["days"] == 16 and score["wape"]["chosen"] < 0.05 and score["meters"] == 1
    over = market_day(today, ZONE)
    expected = [shape_w(at) / 1e3 for at in range(over.start_ns, over.end_ns, HOUR_NS)]
    assert [row["kwh"] for row in load["intervals"]] == pytest.approx(expected, rel=0.02)
    assert load["lately"]["wape"]["chosen"] < 0.05 and not any(row["kwh"] for row in battery["intervals"])


def test_what_is_no_folder_no_group_or_both_at_once_is_refused(tmp_path: Path) -> None:
    folder, _ = fleet_of(tmp_path)

    def refused(*words: object) -> str:
        done = CliRunner().invoke(main, ["forecast", *map(str, words), "--json"])
        assert done.exit_code == 2, done.output
        return str(json.loads(done.stderr)["error"])

    assert "holds no readings" in refused("--data", folder)
    assert refused("--data", folder, "--of", "pool-9").startswith("--of 'pool-9'")
    assert "one of the two" in refused("day", "meter.csv", "--data", folder)
    assert "one of the two" in refused("day")
    assert "--of 'pool-1': belongs to --data" in refused("meter.csv", "--of", "pool-1", "--timezone", "UTC")
    assert "--timezone: is missing" in refused("meter.csv")
