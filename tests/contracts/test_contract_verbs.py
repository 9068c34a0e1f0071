"""Contracts, programs and enrolments from the command line, as somebody without a server uses them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from agreed import CONTRACTS
from click.testing import CliRunner, Result

from tieline.node.cli import main

HEAD = "location,resource,kind,power_w,program,contract,starts,aggregation\n"
AT = ["--at", "2026-05-01T00:00:00Z"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "contracts.toml").write_text(CONTRACTS, encoding="utf-8")
    row = "site-1,line-1,process_line,150000,base-interruptible,contract-1,2026-06-01T00:00:00-07:00,agg-1\n"
    (tmp_path / "rows.csv").write_text(HEAD + row, encoding="utf-8")
    return tmp_path


def tieline(*words: str, code: int = 0) -> dict:
    made: Result = CliRunner().invoke(main, [*words, "--json"])
    assert made.exit_code == code, (made.stdout, made.stderr)
    return json.loads(made.stdout if made.stdout else made.stderr)


def enrol(*more: str, code: int = 0) -> dict:
    return tieline(
        "enrol", "rows.csv", "--contracts", "contracts.toml", "--book", "book.json", *AT, *more, code=code
    )  # fmt: skip


def test_a_file_is_enrolled_reviewed_and_begun(folder: Path) -> None:
    first = enrol()
    assert (first["applied"], first["added"], first["rows"][0]["state"]) == (True, 1, "under_review")
    written = (folder / "book.json").read_bytes()
    again = enrol()
    assert (again["added"], again["unchanged"]) == (0, 1) and (folder / "book.json").read_bytes() == written
    waiting = tieline("enrolments", "list", "--book", "book.json", "--at", "2026-05-11T00:00:00Z")["reviews"][0]
    assert (waiting["aggregation"], waiting["days_left"], waiting["is_overdue"]) == ("agg-1", 20.0, False)
    late = tieline("enrolments", "list", "--book", "book.json", "--at", "2026-07-01T00:00:00Z")["reviews"][0]
    assert late["is_overdue"]
    answer = ["--book", "book.json", "--by", "utility clerk", "--at", "2026-05-12T00:00:00Z"]
    refused = tieline("enrolments", "review", "agg-1", "rejected", *answer, code=2)
    assert (refused["field"], refused["value"]) == ("ground", "none")
    assert tieline("enrolments", "review", "agg-1", "approved", *answer)["states"] == {"confirmed": 1}
    due = ["--book", "book.json", "--contracts", "contracts.toml", "--at", "2026-06-02T00:00:00Z"]
    assert tieline("enrolments", "advance", *due)["states"] == {"active": 1}
    by = ["--book", "book.json", "--by", "owner", "--at", "2026-06-03T00:00:00Z"]
    refused = tieline("enrolments", "step", "line-1", "confirmed", "approved", *by, code=2)
    assert (refused["field"], refused["value"]) == ("state", "active -> confirmed")
    assert tieline("enrolments", "step", "line-1", "paused", "sent", *by, code=2)["field"] == "state"
    assert tieline("enrolments", "step", "line-1", "ended", "owner_left", *by)["states"] == {"ended": 1}
    assert tieline("enrolments", "step", "line-9", "ended", "owner_left", *by, code=2)["field"] == "enrolment"


def test_one_refused_row_leaves_the_book_as_it_was_and_every_row_is_told(folder: Path) -> None:
    enrol()
    written = (folder / "book.json").read_bytes()
    rows = (folder / "rows.csv").read_text()
    more = (
        rows + "site-2,line-2,toaster,-5,base-interruptible,contract-1,soon,\nsite-2,line-3,battery,5000,peak-rebate,"
    )
    (folder / "rows.csv").write_text(more + "contract-1,2026-06-01T00:00:00-07:00,\n", encoding="utf-8")
    made = enrol(code=1)
    assert [row["outcome"] for row in made["rows"]] == ["unchanged", "refused", "added"]
    assert len(made["rows"][1]["faults"]) == 3 and not made["applied"]
    assert (folder / "book.json").read_bytes() == written


def test_a_dry_run_writes_nothing(folder: Path) -> None:
    assert enrol("--dry-run")["applied"] is False
    assert not (folder / "book.json").exists()


def test_what_is_promised_already_is_not_enrolled(folder: Path) -> None:
    (folder / "promised.csv").write_text(
        "resource,product,start,end,up_w,rating_w\nline-1,energy,2026-07-01T20:00:00Z,2026-07-01T21:00:00Z,10,150000\n",
        encoding="utf-8",
    )
    assert "held by energy" in enrol("--promised", "promised.csv", code=1)["rows"][0]["faults"][0]


def test_programs_are_listed_shown_and_checked(folder: Path) -> None:
    listed = tieline("programs", "list")["programs"]
    assert len({row["type"] for row in listed}) == 10
    shown = tieline("programs", "show", "base-interruptible")["versions"][0]
    assert shown["budget"]["calls_a_month"] == 10 and shown["excess_per_kwh"] == "6.00"
    source = Path(__file__).parents[2] / "src" / "tieline" / "contract" / "rules" / "programs.toml"
    assert tieline("programs", "check", str(source))["programs"] == len(listed)
    text = source.read_text(encoding="utf-8").replace('"caiso-10-in-10"', '"ten-of-ten"')
    (folder / "mine.toml").write_text(text, encoding="utf-8")
    refused = tieline("programs", "check", "mine.toml", code=2)
    assert refused["field"] == "$.program[5].baseline" and refused["value"] == "ten-of-ten"
    assert len(refused["faults"]) == 2


def test_contracts_are_checked_and_say_what_holds(folder: Path) -> None:
    held = tieline("contracts", "check", "contracts.toml", *AT)
    assert (held["parties"], held["locations"]) == (3, 2)
    assert "cycling-half" in held["held"][0]["products"] and "cycling-half" not in held["held"][0]["consented"]
    after = tieline("contracts", "check", "contracts.toml", "--at", "2027-01-01T00:00:00Z")
    assert after["held"][0]["terms"] is None, "half-open"
    (folder / "contracts.toml").write_text(CONTRACTS.replace('owner = "owner-1"', 'owner = "x"'), encoding="utf-8")
    assert tieline("contracts", "check", "contracts.toml", code=2)["field"] == "$.contract[0].owner"


@pytest.mark.parametrize(
    "words",
    [
        ["enrol", "none.csv", "--contracts", "contracts.toml", "--book", "b.json"],
        ["enrol", "rows.csv", "--contracts", "none.toml", "--book", "b.json"],
        ["enrol", "rows.csv", "--contracts", "contracts.toml", "--book", "b.json", "--at", "soon"],
        ["enrolments", "list", "--book", "none.json"],
        ["programs", "show", "none"],
        ["programs", "check", "none.toml"],
        ["contracts", "check", "rows.csv"],
    ],
)
def test_what_cannot_be_is_refused_as_one_object_with_code_2(folder: Path, words: list[str]) -> None:
    assert tieline(*words, code=2)["error"]
