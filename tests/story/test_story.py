"""The whole of it: a day from award to cent on virtual time, over the real protocol stacks, every promise checked."""

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from sampled import some
from tieline.desk.facts import BatchTaken, from_record
from tieline.node.cli import main
from tieline.node.demo import parse_duration, quiet, run_headless
from tieline.node.report import broke
from tieline.node.stage import Stage, raise_stage, scenario
from tieline.node.story import Story, Told
from tieline.node.timing import timing
from tieline.node.twin import Twin
from tieline.resource.claim import Quantity
from tieline.resource.level import Level
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.network import Network
from tieline.simulate.territory import GENERATION
from tieline.store.journal import SqliteJournal
from tieline.times import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS, iso, parse_iso


@pytest.fixture(scope="module", params=some([12 * HOUR_NS, DAY_NS]), ids=["half a day", "a day"])
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    quiet()
    folder = tmp_path_factory.mktemp("story") / "data"
    return run_headless(600, 5, "heatwave", request.param, lambda line: None, folder), folder


def test_every_promise_is_kept(played: tuple) -> None:
    result, _ = played
    broken = [p for p in result["promises"] if not p["held"]]
    assert broken == []
    assert [p["name"] for p in result["promises"] if not p["tested"]] == []
    assert len(result["promises"]) >= 16
    assert result["failures"] == {}


def test_the_story_has_all_its_parts(played: tuple) -> None:
    result, _ = played
    assert len(result["awards"]) == 6
    assert len(result["dispatch"]) == 72
    assert result["override"]["substitute_count"] > 0
    assert result["grid"]["reliefs"]
    assert result["override"]["status"] == ["SUCCESS"] * 3
    assert {r["what"] for r in result["refusals"]} == {"second sale", "backup generator"}
    assert set(result["hops"]) >= {"iso_web", "dnp3", "openadr", "modbus", "mqtt", "devices"}
    assert all(hop["sent"] >= hop["acknowledged"] > 0 for hop in result["hops"].values())
    assert result["trace"]["share"] == 1.0
    assert result["settlement"]["adds_up"]
    assert len(result["settlement"]["baseline"]["days"]) == 10


def test_the_hop_from_the_iso_is_measured_from_when_it_shows_a_batch(played: tuple) -> None:
    """A batch that comes out of order was stamped a step (300 s) before anybody could fetch it: no hop took that."""
    hop = played[0]["hops"]["iso_web"]
    assert hop["shown_after_their_stamp"] > 0
    assert 0 < hop["p50_ms"] <= hop["p99_ms"] < 60_000  # asks each 15 s, 10 % more, and again after a busy answer
    assert "each 15 s" in hop["measures"]


def test_works_stop_what_is_fed_in_and_the_feeder_behaves_as_the_power_flow_foresaw(played: tuple) -> None:
    works = played[0]["override"]
    assert works["giving_before_w"] > 1_000.0
    assert works["giving_held_w"] <= 0.02 * works["giving_before_w"]
    assert works["loading_held"] < 1.0
    assert works["loading_foreseen"] == pytest.approx(works["loading_held"], abs=0.15)
    assert works["pool_share_before_w"] > 0.0
    assert works["redeclared_mw"] < works["available_before_mw"]
    assert works["declared_to_market"]


def test_award_payment_truth_and_telemetry_lead_to_each_other(played: tuple) -> None:
    gap = played[0]["settlement"]["gap"]
    assert gap["awarded_kwh"] + gap["surplus_kwh"] - sum(gap["shortfall_kwh"].values()) == pytest.approx(
        gap["paid_kwh"], abs=0.05
    )
    assert gap["true_kwh"] + gap["baseline_error_kwh"] + gap["not_payable_kwh"] == pytest.approx(
        gap["paid_kwh"], abs=0.05
    )
    seen = gap["telemetered_kwh"] + gap["own_base_error_kwh"] + gap["uncounted_kwh"] + gap["true_unseen_kwh"]
    assert seen == pytest.approx(gap["true_kwh"], abs=0.05)
    awarded = {at for one in played[0]["awards"] for at in called_steps(one)}
    rows = [row for row in played[0]["dispatch"] if row["start"] in awarded]
    by_interval = [row["delivered_mw"] * (1.0 - row["uncounted_s"] / 300.0) for row in rows]
    assert played[0]["settlement"]["telemetered_kwh"] == gap["telemetered_kwh"]
    assert gap["telemetered_kwh"] == pytest.approx(sum(by_interval) * 1e3 / 12, abs=0.05)
    lacks = sum(gap["telemetry_withheld_kwh"].values()) + sum(gap["telemetry_short_kwh"].values())
    lacks += gap["awarded_unseen_kwh"]
    assert gap["telemetered_kwh"] + lacks - gap["telemetry_over_kwh"] == pytest.approx(gap["awarded_kwh"], abs=0.05)
    assert sum(gap["own_base_error_by_kind_kwh"].values()) == pytest.approx(gap["own_base_error_kwh"], abs=0.1)
    assert played[0]["settlement"]["performance"] == pytest.approx(gap["paid_kwh"] / gap["awarded_kwh"], abs=1e-3)


def called_steps(award: dict) -> list[str]:
    start_ns, end_ns = parse_iso(award["start"]), parse_iso(award["end"])
    return [iso(at_ns) for at_ns in range(start_ns, end_ns, 5 * MINUTE_NS)]


@pytest.mark.parametrize("minutes", some([60, 90, 240]))
def test_a_short_story_is_a_whole_one(minutes: int) -> None:
    quiet()
    result = run_headless(60, 2, "heatwave", minutes * MINUTE_NS, lambda line: None)
    assert [p for p in result["promises"] if not p["held"]] == []
    for part in ("awards", "dispatch", "override", "opt_out", "restored", "refusals"):
        assert result[part], part


@pytest.mark.parametrize(("devices", "seed"), some([(70, 7), (60, 10), (60, 4)]))
def test_a_limit_outlives_a_cut_line_a_device_out_of_reach_and_a_lost_renewal(devices: int, seed: int) -> None:
    quiet()
    result = run_headless(devices, seed, "comms-loss", 90 * MINUTE_NS, lambda line: None)
    assert [p for p in result["promises"] if not p["held"]] == []
    works = result["override"]
    assert result["losses"]["dnp3 dno"] >= 1
    assert len(works["isolated"]) == works["reporting_of"] - works["reporting"]
    assert result["failures"] == {}


@pytest.mark.parametrize(("holds_s", "plays"), [(8.0, True), (7_200.0, False)])
def test_a_limit_that_another_master_bars_is_given_again_and_else_said_and_the_day_goes_on(
    holds_s: float, plays: bool, tmp_path: Path
) -> None:
    quiet()
    what, said = scenario("comms-loss"), []
    when = timing(date.fromisoformat(what.day), 90 * MINUTE_NS)

    async def main(loop: VirtualLoop) -> tuple[Told, dict[str, int], Stage]:
        async with Supervisor(np.random.default_rng(90)) as supervisor:
            stage = await raise_stage(what, 60, 1, VirtualClock(loop, when.opens_ns), supervisor, tmp_path)
            stage.twin = Twin(stage.world, stage.meters)
            story = Story(stage, when, said.append)

            def hold() -> None:  # another master of the same outstation has selected every feeder's generation (R13)
                for feeder in stage.territory.feeders:
                    stage.node.desk.select("dnp3:other", feeder + GENERATION, Quantity.P, Level.ENVELOPE, holds_s)

            loop.call_later((when.override_ns - when.opens_ns) / SECOND_NS - 1.0, hold)
            told = await story.play()
            failed = broke(supervisor, told)
            await stage.scada.close()
            await stage.outstation.stop()
            await stage.node.group.drained()
            return told, failed, stage

    told, failed, stage = run_virtual(main, Network())
    assert bool(told.override) is bool(told.restored) is plays
    assert not stage.link.is_lost.any(), "who went out of reach comes back"
    assert told.opt_out, "the scenes after it are played"
    if plays:
        assert (told.unplayed, failed) == ({}, {})
        assert told.override["status"] == ["SUCCESS"] * 3
    else:
        assert "BLOCKED_OTHER_MASTER" in told.unplayed["override"]
        assert [name for name in failed if name.startswith("scene override: ")]
        assert [line for line in said if line.startswith("the scene override was not played: ")]


def test_what_was_dispatched_was_nearly_delivered(played: tuple) -> None:
    rows = played[0]["dispatch"]
    asked = sum(row["instructed_mw"] for row in rows)
    missed = sum(abs(row["error_mw"]) for row in rows)
    assert missed < 0.12 * asked


@pytest.mark.parametrize("hours", some([1, 2]))
def test_the_same_seed_gives_the_same_digest_and_another_seed_another(hours: int) -> None:
    quiet()
    runs = [run_headless(60, seed, "cloud", hours * HOUR_NS, lambda line: None)["digest"] for seed in (5, 5, 6)]
    assert runs[0] == runs[1] != runs[2]


def test_why_names_winner_chain_and_delivery(played: tuple) -> None:
    folder = played[1]
    run = CliRunner().invoke(
        main, ["sql", "select distinct subject from record where kind='AskGranted'", "--data", str(folder)]
    )
    assert "feeder" in run.output
    for name in (f"battery-{n:06d}" for n in range(1, 40)):
        asked = CliRunner().invoke(main, ["why", name, "--at", "2022-08-17T20:40:00Z", "--data", str(folder), "--json"])
        assert asked.exit_code == 0, asked.output
        answer = json.loads(asked.output)
        if answer["winner"]:
            break
    assert answer["winner"]["level"] == "MARKET"
    assert [step["kind"] for step in answer["chain"]][:3] == ["OfferMade", "AwardTaken", "BatchTaken"]
    assert answer["command"]["stage"] in ("DONE", "ACCEPTED", "UNCONFIRMED")


def test_why_tells_who_and_when_of_a_groups_limit_and_of_an_opt_out(played: tuple) -> None:
    result, folder = played
    group, out = result["override"]["group"], result["opt_out"]
    asked = ["why", group, "--at", "2022-08-17T21:30:00Z", "--data", str(folder)]
    answer = json.loads(CliRunner().invoke(main, [*asked, "--json"]).output)
    (limit,) = [limit for limit in answer["limits"] if limit["by"]["source"] == "dnp3:dno"]
    assert limit["high_w"] == pytest.approx(result["override"]["limit_high_w"], abs=1.0)
    assert limit["resources"] == answer["resources"]
    assert "AskGranted" in [step["kind"] for chain in answer["chains"].values() for step in chain]
    assert f"{group} (generation)" in CliRunner().invoke(main, asked).output
    pool = json.loads(
        CliRunner().invoke(main, ["why", "pool-1", "--at", _told_in_time(folder), *asked[4:], "--json"]).output
    )
    assert [call["power_w"] for call in pool["instructions"]] == [pool["owed_w"]] and pool["owed_w"] > 0
    assert {award["id"] for award in pool["awards"]} & {award["id"] for award in result["awards"]}
    (chain, *_) = pool["chains"].values()
    assert [step["kind"] for step in chain] == ["OfferMade", "AwardTaken", "BatchTaken"]
    assert sum(pool["controlled_by"].values()) + pool["free"] == pool["resources"]
    gone = json.loads(
        CliRunner().invoke(main, ["why", out["resource"], "--at", "2022-08-17T21:50:00Z", *asked[4:], "--json"]).output
    )
    assert gone["opted_out"]
    assert gone["gates"][0]["from"].startswith(out["when"][:19])
    assert gone["winner"] is None


def _told_in_time(folder: Path) -> str:
    """Return an instant within a step of whose instruction the desk knew when it began: some come late."""
    journal = SqliteJournal(folder / "journal.db")
    for record in journal.of_kind("BatchTaken"):
        fact = from_record(record)
        assert isinstance(fact, BatchTaken)
        for told in fact.batch.instructions:
            if told.id in fact.answer.accepted and told.power_w > 0 and record.recorded_at_ns < told.start_ns:
                return iso(told.start_ns + MINUTE_NS)
    raise AssertionError("no instruction came in time")


def test_replay_doctor_and_export_work_on_its_folder(played: tuple, tmp_path: Path) -> None:
    folder = str(played[1])
    one, two = (CliRunner().invoke(main, ["replay", "--data", folder, "--json"]).output for _ in range(2))
    assert one == two
    told = json.loads(one)
    assert (told["digest"], told["records"]) == (played[0]["digest"], played[0]["records"])
    assert CliRunner().invoke(main, ["doctor", "--data", folder]).exit_code == 0
    for ending in ("csv", "json", "parquet"):
        target = tmp_path / f"lines.{ending}"
        run = CliRunner().invoke(main, ["export", "LineSettled", str(target), "--data", folder, "--json"])
        assert json.loads(run.output)["records"] >= 78
        assert target.stat().st_size > 0


def test_a_changed_journal_is_found_by_the_doctor(played: tuple, tmp_path: Path) -> None:
    import shutil
    import sqlite3

    shutil.copytree(played[1], tmp_path / "d")
    db = sqlite3.connect(tmp_path / "d" / "journal.db")
    db.execute("UPDATE record SET subject='pool-2' WHERE seq=100")
    db.commit()
    db.close()
    run = CliRunner().invoke(main, ["doctor", "--data", str(tmp_path / "d")])
    assert run.exit_code == 1
    assert "record 100 was changed" in run.output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["demo", "--headless", "--scenario", "snow"], "give one of heatwave, cloud, comms-loss"),
        (["demo", "--headless", "--for", "soon"], "such as 1d"),
        (["demo", "--headless", "--for", "10m"], "give 60m or more"),
        (["demo", "--headless", "--wire", "--speed", "300"], "--speed 300: give 0.1 to 60"),
        (["demo", "--headless", "--wire", "--speed", "nan"], "--speed nan: give 0.1 to 60"),
        (["demo", "--headless", "--speed", "10"], "--speed: has no meaning on virtual time"),
        (["demo", "--json"], "--json: belongs to --headless"),
        (["demo", "--headless", "--devices", "3"], "give 40 or more"),
        (["bench", "nothing"], "give one of"),
        (["why", "x", "--data", "no-such-folder"], "no registry"),
        (["why", "x", "--at", "yesterday", "--data", "no-such-folder"], "ISO 8601"),
        (["import", "no-such.csv"], "no such file"),
        (["sql", "select 1", "--data", "no-such-folder"], "no journal"),
        (["export", "Nothing", "x.csv"], "give one of"),
        (["init", "/proc/nowhere"], "/proc/nowhere"),
        (["demo", "--headless", "--data", "/proc/nowhere"], "/proc/nowhere"),
    ],
)
def test_a_wrong_word_gets_one_line_that_names_the_fix_and_exit_2(words: list, says: str) -> None:
    run = CliRunner().invoke(main, words)
    assert run.exit_code == 2
    assert says in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1


def test_a_table_with_faults_is_refused_row_by_row_and_changes_nothing(tmp_path: Path) -> None:
    table = tmp_path / "devices.csv"
    table.write_text("id,kind,max_inject_w\nb1,battery,5000\nb1,battery,x\nb3,teapot,-1\n")
    run = CliRunner().invoke(main, ["import", str(table), "--data", str(tmp_path / "d")])
    assert run.exit_code == 2
    for part in ("row 3: id", "row 3: max_inject_w = 'x'", "row 4: kind = 'teapot'", "row 4: max_inject_w = -1"):
        assert part in run.stderr
    assert not (tmp_path / "d").exists()


def test_durations_are_read_and_bad_ones_refused() -> None:
    assert parse_duration("1d") == DAY_NS
    assert parse_duration("1.5 h") == HOUR_NS * 3 // 2


def test_help_is_quick_and_imports_no_heavy_library() -> None:
    heavy = "('numba', 'pyarrow', 'fastapi')"
    code = f"import sys; from tieline.node.cli import main; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
