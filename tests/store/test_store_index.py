"""The index finds what a plain scan of the records finds, and a run that is lost or torn is made again."""

import sqlite3
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampled import some
from tieline.errors import InvariantError
from tieline.flow.record import Record
from tieline.store import journal as journal_module
from tieline.store.index import Index, key_of, keys_of, read_run
from tieline.store.journal import SqliteJournal

BATCHES = st.lists(st.lists(st.lists(st.integers(0, 60), max_size=3), min_size=1, max_size=12), min_size=1, max_size=20)


def filled(folder: Path, batches: list, spill: int) -> tuple[Index, dict, list]:
    """Return an index of records that have these causes, and what a scan would find."""
    index, names, effects, seq = Index(folder, spill), {}, [], 0
    for batch in batches:
        keys = [key_of(f"r{seq + n + 1}") for n in range(len(batch))]
        pairs = [
            (key_of(f"r{cause}"), seq + n + 1) for n, causes in enumerate(batch) for cause in dict.fromkeys(causes)
        ]
        names |= {key: seq + n + 1 for n, key in enumerate(keys)}
        effects += [(effect, cause) for cause, effect in pairs]
        by_cause: dict[int, list[int]] = {}
        for cause, effect in pairs:
            by_cause.setdefault(cause, []).append(effect)
        index.add(seq + 1, keys, by_cause, bytes([len(batch)]) * 16)
        index.save()
        seq += len(batch)
    return index, names, sorted(effects)


@given(BATCHES, st.integers(1, 30))
def test_it_finds_what_a_scan_finds_before_and_after_a_restart(batches: list, spill: int) -> None:
    wanted = [key_of(f"r{n}") for n in range(70)]
    with tempfile.TemporaryDirectory() as name:
        index, names, effects = filled(Path(name), batches, spill)
        expected = {key: names[key] for key in wanted if key in names}
        assert index.find(wanted) == expected
        assert index.effects(wanted, 10_000) == effects
        assert index.effects(wanted, 3) == effects[:3]
        again = Index(Path(name), spill)
        hashes = {run.last: run.hash for run in index.runs}
        again.load(hashes.get)
        reach = index.runs[-1].last if index.runs else 0
        assert again.last == reach
        assert again.find(wanted) == {key: seq for key, seq in expected.items() if seq <= reach}
        assert again.effects(wanted, 10_000) == [pair for pair in effects if pair[0] <= reach]


@given(st.lists(st.text(), unique=True, max_size=30))
def test_keys_of_many_ids_are_those_of_each(ids: list) -> None:
    assert keys_of(ids) == {name: key_of(name) for name in ids}


def test_runs_stay_few_while_the_journal_grows(tmp_path: Path) -> None:
    index = Index(tmp_path, 8)
    for n in range(1_000):
        index.add(8 * n + 1, list(range(8 * n, 8 * n + 8)), {}, b"h" * 16)
        assert len(index.runs) <= 14
    index.save()
    assert sum(run.count for run in index.runs) == 8_000
    assert len(list(tmp_path.iterdir())) == len(index.runs)


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_a_run_with_any_bit_changed_is_left_out(at: int, bit: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        index, _, _ = filled(Path(name), [[[1], [2, 3], []]], 2)
        (path,) = Path(name).glob("*.run")
        raw = bytearray(path.read_bytes())
        raw[at % len(raw)] ^= 1 << bit
        path.write_bytes(raw)
        again = Index(Path(name), 2)
        again.load({run.last: run.hash for run in index.runs}.get)
        padding = range(60, 64)
        assert again.runs == () or at % len(raw) in padding


def facts(first: int, count: int) -> list[Record]:
    return [Record(f"r{n}", "Test", "", n, (f"r{n - 1}",), b"") for n in range(first, first + count)]


@pytest.mark.parametrize("harm", some(["torn", "another", "none", "gone"], 2))
def test_a_journal_knows_all_its_ids_after_a_restart_whatever_befell_the_index(tmp_path: Path, harm: str) -> None:
    journal = SqliteJournal(tmp_path / "j")
    for n in range(7):
        journal.append(facts(20_000 * n, 20_000))
    journal.close()
    runs = sorted((tmp_path / "j.index").glob("*.run"))
    assert runs
    for path in runs:
        if harm == "gone":
            path.unlink()
        elif harm == "torn":
            path.write_bytes(path.read_bytes()[:-1])
    if harm == "another":
        other = SqliteJournal(tmp_path / "k")
        other.append(facts(1_000_000, 80_000))
        other.close()
        for path in (tmp_path / "k.index").glob("*.run"):
            path.replace(runs[0])
    again = SqliteJournal(tmp_path / "j")
    assert again.append([*facts(139_000, 1_000), *facts(140_000, 1)]) == 140_001
    assert [record.id for _, record in again.effects_of(["r5", "r139999"], 10)] == ["r6", "r140000"]
    assert again.get("r70000").seq == 70_001
    assert all(read_run(path) is not None for path in (tmp_path / "j.index").glob("*.run"))


def test_a_reader_sees_what_the_writer_appended_after_it_was_opened(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "j")
    journal.append(facts(0, 3))
    reader = journal.reader()
    assert reader.holds("r2")
    journal.append(facts(3, 70_000))
    assert reader.get("r70002").seq == 70_003
    assert reader.causes_of(["r50000"]) == {"r50000": ("r49999",)}
    assert not reader.holds("r70003")


def test_two_ids_that_share_a_key_are_never_taken_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "keys_of", lambda ids: dict.fromkeys(ids, 7))
    journal = SqliteJournal(tmp_path / "j")
    with pytest.raises(InvariantError, match="shares a key"):
        journal.append(facts(0, 2))
    journal.append(facts(0, 1))
    with pytest.raises(InvariantError, match="share a key"):
        journal.append(facts(1, 1))
    assert journal.append(facts(0, 1)) == 1
    assert journal.verify() is None


def test_a_file_of_the_first_schema_is_brought_up_and_loses_nothing(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "j")
    journal.append(facts(0, 5))
    journal.close()
    old = sqlite3.connect(tmp_path / "j")
    old.execute("ALTER TABLE record ADD COLUMN key BIGINT NOT NULL DEFAULT 0")
    old.execute("UPDATE record SET key=seq")
    old.execute("CREATE UNIQUE INDEX record_key ON record (key)")
    old.execute("CREATE TABLE cause (cause_key BIGINT, effect_seq INTEGER, PRIMARY KEY (cause_key, effect_seq))")
    old.commit()
    old.close()
    again = SqliteJournal(tmp_path / "j")
    assert again.append(facts(4, 2)) == 6
    assert again.verify() is None
    tables = {row[0] for row in sqlite3.connect(tmp_path / "j").execute("SELECT name FROM sqlite_master")}
    assert not tables & {"cause", "record_key"}


def test_sorted_runs_keep_the_order_of_one_causes_effects(tmp_path: Path) -> None:
    index = Index(None, 4)
    rng = np.random.default_rng(1)
    for n in range(50):
        keys = [int(k) for k in rng.integers(-(2**62), 2**62, 4)]
        index.add(4 * n + 1, keys, {9: [4 * n + 1 + k for k in range(4)]}, b"h" * 16)
    assert [seq for seq, _ in index.effects([9], 1_000)] == list(range(1, 201))
