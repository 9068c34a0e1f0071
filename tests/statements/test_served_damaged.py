"""Money from a journal that was changed or cut: printed with what is wrong beside it, and code 1, never in silence."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from served_made import served_folder

from tieline.node.cli import main
from tieline.store.head import cut_says
from tieline.store.opening import changed_says


def served(folder: Path, *words: str) -> Result:
    out = str(folder / "paper.csv")
    return CliRunner().invoke(main, ["statements", "served", *words, "--data", str(folder), "--out", out, "--json"])


def change(folder: Path, *what: object) -> None:
    with sqlite3.connect(folder / "journal.db") as db:
        assert db.execute(*what).rowcount  # type: ignore[arg-type]


def count(folder: Path) -> int:
    with sqlite3.connect(folder / "journal.db") as db:
        return int(db.execute("SELECT max(seq) FROM record").fetchone()[0])


@pytest.mark.parametrize("words", [(), ("--for", "program"), ("--for", "owner", "--owner", "east")])
def test_a_forged_cause_of_a_lack_is_named_beside_the_paper_and_ends_with_code_1(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    folder = served_folder(tmp_path)
    whole = served(folder, *words)
    assert (whole.exit_code, whole.stderr, json.loads(whole.stdout)["missing"]) == (0, "", [])
    with sqlite3.connect(folder / "journal.db") as db:
        seq, body = db.execute(
            "SELECT seq, body FROM record WHERE kind = 'LineSettled' AND instr(body, 'opt_out') LIMIT 1"
        ).fetchone()
    change(folder, "UPDATE record SET body = ? WHERE seq = ?", (body.replace(b"opt_out", b"offline"), seq))
    done = served(folder, *words)
    assert (done.exit_code, done.stderr) == (1, f"warning: {changed_says(seq)}\n")
    assert json.loads(done.stdout)["missing"] == [changed_says(seq)]


def test_a_day_that_was_cut_off_with_the_records_end_is_not_none_yet_in_silence(tmp_path: Path) -> None:
    folder = served_folder(tmp_path)
    known = count(folder)
    change(folder, "DELETE FROM record WHERE kind = 'StatementMade'")
    left = count(folder)
    change(folder, "DELETE FROM record WHERE seq > ?", (left - 1,))
    done = served(folder)
    assert done.exit_code == 2
    assert f"warning: {cut_says(str(folder / 'journal.db'), left, known, left - 1)}" in done.stderr


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_whatever_record_was_changed_no_money_is_printed_without_a_word(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = served_folder(tmp_path_factory.mktemp("served"))
    seq = data.draw(st.integers(1, count(folder)))
    field = data.draw(st.sampled_from(["subject", "id", "recorded_at_ns", "gone"]))
    if field == "gone":
        change(folder, "DELETE FROM record WHERE seq = ?", (seq,))
    else:
        value: object = 7 if field == "recorded_at_ns" else "forged"
        change(folder, f"UPDATE record SET {field} = ? WHERE seq = ?", (value, seq))
    done = served(folder)
    assert done.exit_code in (1, 2)
    assert f"record {seq} " in done.stderr
