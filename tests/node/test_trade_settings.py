"""Limits and pool settings hold at the kernel and the desk, and what is wrong in them is named by its path."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from tieline.desk.ports import Ask
from tieline.errors import ConfigError
from tieline.node.config import load_config
from tieline.node.runtime import Node
from tieline.node.serve import node_of, trader_of
from tieline.resource.claim import ClaimKind, Quantity, Refusal
from tieline.resource.level import Level
from tieline.rim.supervise import Supervisor
from tieline.store import registry
from tieline.store.importing import read_fleet
from tieline.times import HOUR_NS, MINUTE_NS

TABLE = "id,kind,fuel,max_inject_w,max_absorb_w,energy_wh,feeder,pool\n" + "".join(
    f"battery-{n},battery,,5000,5000,10000,feeder-{n % 2},pool-1\n" for n in range(10)
)


class Hands:
    at_ns = 1_660_712_400 * 10**9

    def now_ns(self) -> int:
        return self.at_ns


def served(folder: Path, settings: str, scene, table: str = TABLE) -> None:
    (folder / "tieline.toml").write_text(settings)
    (folder / "devices.csv").write_text(table)
    registry.save(read_fleet(folder / "devices.csv"), folder / "registry.bin")

    async def main() -> None:
        async with Supervisor(np.random.default_rng(0)) as supervisor:
            clock = Hands()
            node = node_of(folder, load_config(folder / "tieline.toml"), supervisor, None, clock)
            await scene(node, clock)

    asyncio.run(main())


def setpoint(node: Node, resource: str, power_w: float, people: tuple[str, ...] = ("ann",)) -> Ask:
    now_ns = node.clock.now_ns()
    return Ask(
        "console", "operator", "test", Level.ENVELOPE, resource, Quantity.P, ClaimKind.SET, now_ns, now_ns,
        now_ns + HOUR_NS, value=power_w, people=people,
    )  # fmt: skip


def test_the_limiter_lets_no_more_move_in_a_minute_than_the_settings_say(tmp_path: Path) -> None:
    async def scene(node: Node, clock: Hands) -> None:
        moved = []
        await node.desk.ask(setpoint(node, "pool-1", 50_000.0))
        for _ in range(8):
            batch = await node.desk.settle()
            moved.append(0.0 if batch is None else float(np.abs(batch.target_w).sum()))
            clock.at_ns += MINUTE_NS
        assert max(moved) == 10_000.0
        assert sum(moved) == 50_000.0

    served(tmp_path, "[limits]\nfleet_move_w = 12e3\n", scene)


def test_a_feeder_has_a_cap_of_its_own(tmp_path: Path) -> None:
    async def scene(node: Node, clock: Hands) -> None:
        await node.desk.ask(setpoint(node, "pool-1", 50_000.0))
        batch = await node.desk.settle()
        assert batch is not None
        assert [node.state.fleet.id_of(int(row)) for row in batch.rows] == [
            "battery-0", *(f"battery-{n}" for n in (1, 3, 5)),
        ]  # fmt: skip

    served(tmp_path, "[limits.feeder_move_w]\nfeeder-0 = 5e3\nfeeder-1 = 15e3\n", scene)


def test_a_ramp_by_kind_shortens_each_step(tmp_path: Path) -> None:
    async def scene(node: Node, clock: Hands) -> None:
        await node.desk.ask(setpoint(node, "battery-1", 5_000.0))
        seen = []
        for _ in range(4):
            batch = await node.desk.settle()
            seen.append(None if batch is None else float(batch.target_w[0]))
            clock.at_ns += MINUTE_NS
        assert seen[:3] == pytest.approx([2_000.0, 4_000.0, 5_000.0])
        assert seen[3] is None

    served(tmp_path, "[limits.ramp_frac_per_min]\nbattery = 0.4\n", scene)


@pytest.mark.parametrize(("least", "refused"), [(5, True), (6, False)])
def test_two_people_are_needed_from_the_size_that_the_settings_say(tmp_path: Path, least: int, refused: bool) -> None:
    async def scene(node: Node, clock: Hands) -> None:
        answer = await node.desk.ask(setpoint(node, "feeder-1", 1.0))  # five devices of ten
        assert isinstance(answer, Refusal) == refused
        if isinstance(answer, Refusal):
            assert (answer.rule, answer.limit) == ("two people", "two different people")
            assert f"from {least} on" in answer.reason
            clock.at_ns += 1  # the same ask again would get the same answer
            assert not isinstance(await node.desk.ask(setpoint(node, "feeder-1", 1.0, ("ann", "ben"))), Refusal)

    served(tmp_path, f"[limits]\ntwo_people = {{ devices = {least}, least_devices = 50 }}\n", scene)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ("[limits]\nflet_move_w = 1.0", "unknown field `flet_move_w` - at `$.limits`"),
        ("[limits]\nfleet_move_w = 0.0", "0 at $.limits.fleet_move_w: give over 0 to 1e12 W"),
        ("[limits]\nfleet_move_w = nan", "nan at $.limits.fleet_move_w"),
        ("[limits.feeder_move_w]\nfeeder-1 = -1.0", "-1 at $.limits.feeder_move_w.feeder-1"),
        ("[limits.feeder_move_w]\nfeeder-9 = 1.0", "$.limits.feeder_move_w: 'feeder-9' is no feeder: give one of feeder-0"),
        ("[limits.two_people]\npeople = 3", "unknown field `people` - at `$.limits.two_people`"),
        ("[limits.two_people]\nfleet_frac = 0.0", "0 at $.limits.two_people.fleet_frac: give over 0 to 1"),
        ("[limits.two_people]\ndevices = 0", "0 at $.limits.two_people.devices"),
        ("[limits.ramp_frac_per_min]\nkettle = 1.0", "'kettle' at $.limits.ramp_frac_per_min: give one of backup_gen"),
        ("[limits.ramp_frac_per_min]\nbattery = 0.0", "0 at $.limits.ramp_frac_per_min.battery"),
        ("[limits]\nloads = 'never'", "'never' at $.limits.loads: give may_stop or counted"),
        ("[limits]\nloads = ''", "'' at $.limits.loads: give may_stop or counted"),
        ("[limits]\nloads = 1", "got `int` - at `$.limits.loads`"),
        ("[limits]\nsite_stale_s = 0.5", "0.5 at $.limits.site_stale_s: give 1 to 180 s"),
        ("[limits]\nsite_stale_s = 181", "181 at $.limits.site_stale_s: give 1 to 180 s"),
        ("[limits]\nsite_stale_s = nan", "nan at $.limits.site_stale_s: give a finite number"),
        ("[limits]\nsite_stale_s = 'x'", "got `str` - at `$.limits.site_stale_s`"),
        ("[limits.loads]\nfeeder-1 = 'yes'", "'yes' at $.limits.loads.feeder-1: give may_stop or counted"),
        ("[limits.loads]\nfeeder-1 = true", "got `bool` - at `$.limits.loads"),
        ("[limits.loads]\nfeeder-9 = 'counted'", "$.limits.loads: 'feeder-9' is no feeder, substation, transformer or bus: give one of feeder-0, feeder-1, or one word for all"),
        ("[limits.loads]\npool-1 = 'may_stop'", "$.limits.loads: 'pool-1' is no feeder"),
        ("[limits.loads]\nbattery-1 = 'counted'", "$.limits.loads: 'battery-1' is no feeder"),
        ("[pools.pool-9]\noperator_frac = 0.1", "$.pools: 'pool-9' is no pool: give one of pool-1"),
        ("[pools.pool-1]\noperator_frac = 1.1", "operator_frac 1.1 at $.pools.pool-1.operator_frac: give 0 to 1"),
        ("[pools.pool-1]\nload_rule = 'guess'", "load_rule 'guess' at $.pools.pool-1.load_rule: give one of aemo"),
        ("[pools.pool-1]\nload_rule = 'caiso-weather-match'", "load_rule 'caiso-weather-match' at $.pools.pool-1.load_rule: give one"),
        ("[pools.pool-1]\nreadings_wait_h = -1.0", "readings_wait_h -1 at $.pools.pool-1.readings_wait_h: give 0 to 1440"),
        ("[pools.pool-1]\nshare = 1", "unknown field `share` - at `$.pools.pool-1`"),
        ("[pools.pool-1]\n[pools.pool-2]\noperator_frac = 'x'", "got `str` - at `$.pools.pool-2.operator_frac`"),
        ("[[peers]]\nname = 'a'\nresources = []\n[[peers]]\nname = 'b'\nport = 1", "unknown field `port` - at `$.peers[1]`"),
    ],
)  # fmt: skip
def test_a_wrong_setting_refuses_the_start_and_names_its_path(tmp_path: Path, settings: str, says: str) -> None:
    async def scene(node: Node, clock: Hands) -> None:
        raise AssertionError("it started")

    with pytest.raises(ConfigError) as raised:
        served(tmp_path, settings + "\n", scene)
    assert says in str(raised.value)


@pytest.mark.parametrize(("settings", "scheduled"), [("", ["pool-1"]), ("[pools.pool-1]\ndispatch = 'merit'", [])])
def test_awards_are_given_by_schedule_unless_a_pool_goes_by_merit(
    settings: str, scheduled: list[str], tmp_path: Path
) -> None:
    async def scene(node: Node, clock: Hands) -> None:
        assert trader_of(node, load_config(tmp_path / "tieline.toml"), None).by_schedule() == scheduled

    served(tmp_path, settings, scene)


@pytest.mark.parametrize(
    ("settings", "counted"),
    [
        ("", set()), ("[limits]\nloads = 'may_stop'", set()), ("[limits]\nloads = {}", set()),
        ("[limits]\nloads = 'counted'", {"feeder-0", "feeder-1"}), ("[limits.loads]\nfeeder-1 = 'counted'", {"feeder-1"}),
        ("[limits.loads]\nfeeder-1 = 'may_stop'\nfeeder-0 = 'counted'", {"feeder-0"}),
    ],
)  # fmt: skip
def test_one_word_says_of_all_feeders_how_loads_count_and_a_table_of_each(
    settings: str, counted: set[str], tmp_path: Path
) -> None:
    async def scene(node: Node, clock: Hands) -> None:
        assert node.state.counted == counted

    served(tmp_path, settings + "\n", scene)


def test_how_loads_count_is_as_the_settings_say_at_the_start_whatever_was_limited_before(tmp_path: Path) -> None:
    """A limit stands over the restart, and its caps are shared out by the new word from the first beat on."""
    found = []

    async def scene(node: Node, clock: Hands) -> None:
        fleet, now_ns = node.state.fleet, node.clock.now_ns()
        fleet.quality[:], fleet.taken_at_ns[:] = 0, now_ns
        fleet.power_w[:] = np.where(fleet.max_inject_w > 0.0, 4_000.0, -4_000.0)
        node.state.base_w[:] = fleet.power_w
        if not node.state.asks:
            ask = Ask(
                "console", "operator", "limit", Level.ENVELOPE, "feeder-1", Quantity.P, ClaimKind.LIMIT, now_ns, now_ns,
                now_ns + HOUR_NS, low=-np.inf, high=2_000.0, people=("ann", "ben"),
            )  # fmt: skip
            assert not isinstance(await node.desk.ask(ask), Refusal)
        await node.cycle.beat(now_ns)
        rows = fleet.leaves("feeder-1")
        found.append(float(np.minimum(node.state.commands.high_w, fleet.max_inject_w)[rows].sum()))
        clock.at_ns += MINUTE_NS

    table = TABLE.replace("battery-9,battery,,5000,5000,10000", "plug,interruptible_load,,0,5000,0")
    for word in ("counted", "counted", "may_stop"):
        served(tmp_path, f"[limits.loads]\nfeeder-1 = '{word}'\n", scene, table)
    assert found == pytest.approx([5_940.0, 5_940.0, 1_980.0])
