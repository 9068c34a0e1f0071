"""The record of a served folder: how long readings stay, a head that is gone, a clock that steps, no driver."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tieline.bench.arbitrate import plain_fleet
from tieline.console.auth.accounts import Accounts
from tieline.console.auth.roles import Role
from tieline.desk.facts import AskGranted, Audited, CommandsIssued, from_record
from tieline.desk.state import LEASE_NS, DeskState
from tieline.errors import ConfigError
from tieline.fleet.claims import ClaimBook
from tieline.fleet.ledger import Ledger
from tieline.node.cli import main
from tieline.node.config import load_config
from tieline.node.journals import journal_to_read
from tieline.node.runtime import Node, replayed
from tieline.node.serve import serve
from tieline.resource.batch import Readings
from tieline.rim.clock import SystemClock
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.store import registry
from tieline.store.journal import SqliteJournal
from tieline.store.segment import SCHEMA
from tieline.store.series import Historian, Wal
from tieline.times import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS, iso

DAY_HOURS = 24
TABLE = """id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool
battery-1,battery,5000,5000,10000,feeder-1,site-1,pool-1
battery-2,battery,5000,5000,10000,feeder-1,site-1,pool-1
"""


class Stepped:
    """A clock over another that somebody sets."""

    def __init__(self, clock: object, by_ns: int = 0) -> None:
        self.clock, self.by_ns = clock, by_ns

    def now_ns(self) -> int:
        return self.clock.now_ns() + self.by_ns


def run(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, list(words))
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "works"
    run("init", str(made))
    (tmp_path / "devices.csv").write_text(TABLE)
    run("import", str(tmp_path / "devices.csv"), "--data", str(made))
    return made


# --- retention ------------------------------------------------------------------------------------------------------


def days_of_readings(folder: Path, days: int, keep_days: int | None, jump_days: int = 0) -> list[int]:
    """Keep a reading an hour on virtual time and return the hours that are left; the clock jumps after half of them."""

    async def scene(loop: VirtualLoop) -> None:
        clock = Stepped(VirtualClock(loop, 0))
        async with Supervisor(np.random.default_rng(0)) as supervisor:
            fleet = plain_fleet(3)
            state = DeskState.empty(fleet, ClaimBook(fleet), Ledger())
            node = Node(state, SqliteJournal(folder / "journal.db"), clock, supervisor, {}, {})
            keep_ns = None if keep_days is None else keep_days * DAY_NS
            node.keep_readings(Wal(folder / "readings"), Historian(folder / "historian"), None, keep_ns)
            node.start()
            for hour in range(days * DAY_HOURS):
                if hour == days * DAY_HOURS // 2:
                    clock.by_ns = jump_days * DAY_NS
                one = np.ones(1)
                taken_ns = np.array([loop.time() * SECOND_NS + HOUR_NS // 2], np.int64)
                node.desk.readings(
                    Readings(
                        one.astype(np.int32),
                        one.astype(np.uint16),
                        one,
                        np.zeros(1, np.uint32),
                        taken_ns,
                        taken_ns,
                        "t",
                    )
                )
                await asyncio.sleep(3_600)
            await asyncio.sleep(120)

    run_virtual(scene)
    return Historian(folder / "historian").hours()


def test_hours_older_than_asked_are_deleted_each_hour_and_no_other(tmp_path: Path) -> None:
    assert days_of_readings(tmp_path, 3, 1) == list(range(2 * DAY_HOURS, 3 * DAY_HOURS))
    journal = SqliteJournal(tmp_path / "journal.db")
    assert journal.verify() is None  # what was decided stays, whatever was measured
    journal.close()


def test_without_a_setting_readings_are_kept_for_ever(tmp_path: Path) -> None:
    assert days_of_readings(tmp_path, 2, None) == list(range(2 * DAY_HOURS))


def test_a_clock_that_jumps_years_ahead_deletes_nothing_before_its_time(tmp_path: Path) -> None:
    assert days_of_readings(tmp_path, 3, 2, jump_days=4_000) == list(range(DAY_HOURS, 3 * DAY_HOURS))


def test_a_clock_that_is_set_back_goes_on_moving_the_log(tmp_path: Path) -> None:
    assert days_of_readings(tmp_path, 2, None, jump_days=-2) == list(range(2 * DAY_HOURS))


def test_doctor_says_what_is_kept_and_how_long(folder: Path) -> None:
    assert "readings" in run("doctor", "--data", str(folder))
    found = json.loads(run("doctor", "--data", str(folder), "--json"))["readings"]
    assert found == {"ok": True, "says": "0 hours in the historian, kept for ever"}
    (folder / "historian").mkdir()
    for hour in (461_111, 461_115):
        pq.write_table(SCHEMA.empty_table(), folder / "historian" / f"{hour}.parquet")
    with (folder / "tieline.toml").open("a") as settings:
        settings.write("\n[readings]\nkeep_days = 400\n")
    found = json.loads(run("doctor", "--data", str(folder), "--json"))["readings"]
    span = f"{iso(461_111 * HOUR_NS)} to {iso(461_116 * HOUR_NS)}"
    assert found["says"] == f"2 hours in the historian, {span}, kept 400 days"


@pytest.mark.parametrize("days", [0, -1, 36_501])
def test_a_retention_that_is_none_is_refused_by_its_path(tmp_path: Path, days: int) -> None:
    (tmp_path / "tieline.toml").write_text(f"[readings]\nkeep_days = {days}\n")
    with pytest.raises(ConfigError, match=rf"keep_days {days} at \$.readings.keep_days: give 1 to 36500"):
        load_config(tmp_path / "tieline.toml")


# --- where the journal is ---------------------------------------------------------------------------------------------


def test_a_url_with_a_password_or_of_another_database_is_refused_and_never_shown(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    for url, says in (
        ("postgresql://a:hunter2@db/x", "holds a password: give it in $.journal.password_file"),
        ("postgresql+psycopg://a@db/x?password=hunter2", "holds a password"),
        ("mysql://a:hunter2@db/x", "not a PostgreSQL URL"),
        ("postgresql://a:hunter2@[::/x", "not a URL"),
    ):
        (tmp_path / "tieline.toml").write_text(f"[journal]\nurl = {json.dumps(url)}\n")
        with pytest.raises(ConfigError) as told:
            load_config(tmp_path / "tieline.toml")
        assert says in str(told.value)
        assert "hunter2" not in str(told.value)
        made = tmp_path / "up" / "made"
        assert "hunter2" not in run("init", str(made), "--journal", url, code=2)
        assert not made.parent.exists(), "a refusal leaves no folder"
        kept = tmp_path / "kept"
        kept.mkdir(exist_ok=True)
        run("init", str(kept), "--journal", url, code=2)
        assert list(kept.iterdir()) == [], "nor anything in one that was there"


def test_without_the_driver_the_extra_is_named(folder: Path) -> None:
    (folder / "tieline.toml").write_text('[journal]\nurl = "postgresql://a@db/x"\n')
    code = "import sys; sys.modules['psycopg'] = None; from tieline.node.cli import main; main()"
    for verb in (["serve", "--for", "1s"], ["replay"], ["doctor"]):
        words = [sys.executable, "-c", code, *verb, "--data", str(folder)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode != 0
        assert "pip install 'tieline[postgres]'" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_a_password_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    (tmp_path / "tieline.toml").write_text('[journal]\nurl = "postgresql://a@db/x"\npassword_file = "nowhere"\n')
    assert "$.journal.password_file" in run("sql", "SELECT 1", "--data", str(tmp_path), code=2)


# --- a head that is gone ----------------------------------------------------------------------------------------------


async def account_of(folder: Path) -> str:
    """Make an operator, and return his token."""
    journal = SqliteJournal(folder / "journal.db")

    async def append(records: list) -> int:
        return journal.append(records)

    accounts = Accounts(append, SystemClock(), lambda: 0.0, os.urandom)
    await accounts.enrol(accounts.invite("otto", (Role.OPERATOR,), sets_password=False), "")
    token = await accounts.make_token("otto")
    journal.close()
    return token


def test_a_head_that_went_with_the_last_records_is_told_everywhere_and_stays_on_record(folder: Path) -> None:
    data = ("--data", str(folder))
    assert json.loads(run("replay", *data, "--json"))["end"] == "whole"  # a folder just made has none, and lacks none
    asyncio.run(account_of(folder))
    journal = SqliteJournal(folder / "journal.db")
    left = journal.last_seq - 1
    journal._db.execute(f"DELETE FROM record WHERE seq > {left}")
    journal.close()
    (folder / "journal.head").unlink()
    fault = (
        f"journal.head is missing beside {left} records: whether their end was cut off can't be told; put journal.db and "
        "journal.head back from a backup if it was"
    )
    found = json.loads(run("doctor", *data, "--json", code=1))
    assert (found["journal"]["ok"], found["journal"]["says"]) == (False, fault)
    assert json.loads(run("replay", *data, "--json").splitlines()[-1])["end"] == fault
    assert f"warning: {fault}" in run("replay", *data)
    for words in (
        ("why", "battery-1"),
        ("sql", "SELECT count(*) FROM record"),
        ("export", "Audited", str(folder / "a.csv")),
    ):
        assert f"warning: {fault}" in run(*words, *data), words  # nothing is known to be lost: code 0, as of a replay
        assert fault in run(*words, *data, "--json").splitlines()[-1], words
    assert f"warning: {fault}" in run("serve", *data, "--port", "0", "--for", "0.3s")
    assert json.loads(run("doctor", *data, "--json"))["journal"]["ok"]  # a new head begins, and the loss is a record
    assert "warning" not in run("serve", *data, "--port", "0", "--for", "0.3s")
    journal = SqliteJournal(folder / "journal.db")
    noted = [from_record(record) for record in journal.of_kind("Audited")]
    journal.close()
    assert [fact.detail for fact in noted if isinstance(fact, Audited)] == [fault]


def test_records_that_the_head_knows_and_that_are_gone_are_told_at_each_start(folder: Path) -> None:
    data = ("--data", str(folder))
    asyncio.run(account_of(folder))
    journal = SqliteJournal(folder / "journal.db")
    whole = journal.last_seq
    journal._db.execute(f"DELETE FROM record WHERE seq = {whole}")
    journal.close()
    for _ in range(2):
        said = run("serve", *data, "--port", "0", "--for", "0.3s")
        assert f"warning: record {whole} is missing: journal.head knows {whole} records" in said
        assert "is missing" in json.loads(run("doctor", *data, "--json", code=1))["journal"]["says"]


# --- a clock that steps -----------------------------------------------------------------------------------------------


def stepping(
    folder: Path, scene: Callable[[Stepped, Callable[..., Awaitable[httpx.Response]]], Awaitable[None]]
) -> None:
    """Serve a folder in this process on a clock that the scene sets; `ask` limits battery-1 as an operator."""

    async def act() -> None:
        token = await account_of(folder)
        clock, said = Stepped(SystemClock()), asyncio.Queue()
        server = asyncio.create_task(serve(folder, 0, said.put_nowait, None, clock))
        while not (line := await said.get()).startswith("console at "):
            pass
        async with httpx.AsyncClient(base_url=line.removeprefix("console at "), timeout=60) as client:

            async def ask(high_w: float, minutes: int = 600, device: str = "battery-1") -> httpx.Response:
                body = {"low_w": -5_000.0, "high_w": high_w, "minutes": minutes, "because": f"limit {high_w:.0f}"}
                head = {"authorization": f"Bearer {token}"}
                return await client.post(f"/api/v1/resources/{device}/limit", json=body, headers=head)

            await scene(clock, ask)
        server.cancel()
        await asyncio.gather(server, return_exceptions=True)

    asyncio.run(act())


def told(folder: Path) -> tuple[list[object], list[int]]:
    """The facts of a folder and when each was recorded."""
    journal = journal_to_read(folder)
    records = list(journal.replay())
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    assert journal.verify() is None
    journal.close()
    return [from_record(record) for record in records], [record.recorded_at_ns for record in records]


async def beat() -> None:
    """Let the desk do what a change made necessary."""
    await asyncio.sleep(0.5)


def test_after_a_step_back_claims_are_taken_commands_fit_a_lease_and_replay_is_the_same(folder: Path) -> None:
    async def scene(clock: Stepped, ask: Callable[..., Awaitable[httpx.Response]]) -> None:
        assert (await ask(3_000.0)).status_code == 200
        await beat()
        clock.by_ns = -2 * HOUR_NS
        assert (await ask(2_500.0, device="battery-2")).status_code == 200
        await beat()
        assert (await ask(2_000.0)).status_code == 200  # a newer wish, though its clock is older
        await beat()

    stepping(folder, scene)
    facts, at_ns = told(folder)
    assert [fact.ask.high for fact in facts if isinstance(fact, AskGranted)] == [3_000.0, 2_500.0, 2_000.0]
    steps = [fact.detail for fact in facts if isinstance(fact, Audited) and fact.action == "clock"]
    assert len(steps) == 1
    assert steps[0].startswith("the clock stepped by -7200.0 s")
    issued = [fact for fact in facts if isinstance(fact, CommandsIssued) and 0 in fact.rows.array()]
    last_ns = max(at_ns) - 2 * HOUR_NS + MINUTE_NS
    at = [int(np.flatnonzero(fact.rows.array() == 0)[0]) for fact in issued]
    highs = [float(fact.high_w.array()[k]) for fact, k in zip(issued, at, strict=True)]
    assert highs == [3_000.0, 3_000.0, 2_000.0]  # what began stays begun, though its start is ahead again
    # It was told anew, and what it was told fits the lease of the time that holds now.
    assert [fact.valid_until_ns < last_ns + LEASE_NS for fact in issued] == [False, True, True]
    # The journal's order is that of its numbers: the last word is the last record, whatever the clock said.
    fleet = registry.load(folder / "registry.bin")
    journal = journal_to_read(folder)
    digests = {replayed(fleet, Ledger(), journal).digest() for _ in range(2)}
    journal.close()
    assert len(digests) == 1
    assert "limit ENVELOPE: -5000 W to 2000 W" in run("why", "battery-1", "--data", str(folder))
    assert "-5000 W to 2000 W" in run("why", "battery-1", "--at", iso(max(at_ns)), "--data", str(folder))


def test_a_step_forward_ends_leases_early_and_one_back_again_loses_nothing(folder: Path) -> None:
    async def scene(clock: Stepped, ask: Callable[..., Awaitable[httpx.Response]]) -> None:
        assert (await ask(3_000.0, 30)).status_code == 200
        await beat()
        clock.by_ns = HOUR_NS
        assert (await ask(2_500.0, 30)).status_code == 200
        await beat()
        clock.by_ns = 0
        assert (await ask(2_000.0, 30)).status_code == 200
        await beat()

    stepping(folder, scene)
    facts, at_ns = told(folder)
    steps = [fact.detail[:30] for fact in facts if isinstance(fact, Audited) and fact.action == "clock"]
    assert [step[:24] for step in steps] == ["the clock stepped by +36", "the clock stepped by -36"]
    assert [fact.ask.high for fact in facts if isinstance(fact, AskGranted)] == [3_000.0, 2_500.0, 2_000.0]
    assert "-5000 W to 2000 W" in run("why", "battery-1", "--data", str(folder))
    assert "-5000 W to 2000 W" in run(  # the record of the wrong hour doesn't hide what came after it
        "why", "battery-1", "--at", iso(at_ns[-1] + MINUTE_NS), "--data", str(folder)
    )


def test_a_record_that_was_changed_is_named_by_replay_and_by_a_server_that_starts(folder: Path) -> None:
    data = ("--data", str(folder))
    asyncio.run(account_of(folder))
    journal = SqliteJournal(folder / "journal.db")
    journal._db.execute("UPDATE record SET recorded_at_ns = recorded_at_ns + 1 WHERE seq = 2")
    journal.close()
    fault = "record 2 was changed, or is missing: what follows from it can't be trusted; `tieline doctor` says more"
    assert json.loads(run("replay", *data, "--json", code=1).splitlines()[-1])["end"] == fault
    assert "warning: record 2 was changed after it was written" in run("serve", *data, "--port", "0", "--for", "4s")
    told = run(
        "sql", "SELECT count(*) AS told FROM record WHERE kind = 'Audited' AND subject = 'journal'", *data, "--json",
        code=1,
    )  # fmt: skip
    assert '"told": 1' in told or "[[1]]" in told.replace(" ", ""), told
