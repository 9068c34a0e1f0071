"""`tieline markets` and `tieline offer check`: what a trader asks of the tables, and files that are not what they seem."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tieline.node.cli import main

EVE = ["--at", "2025-07-01T09:00:00-07:00"]
TOML = """
[behind]
shared = ["sub-lap", "lse"]
[[offer]]
id = "evening"
start = "2025-07-02T17:00:00-07:00"
end = "2025-07-02T18:00:00-07:00"
steps = [{ power_mw = 0.3, price = 40 }, { power_mw = 0.5, price = 110 }]
"""
CSV = """offer,start,end,power_mw,price
evening,2025-07-02T17:00:00-07:00,2025-07-02T18:00:00-07:00,0.3,40
evening,2025-07-02T17:00:00-07:00,2025-07-02T18:00:00-07:00,0.5,110
night,2025-07-02T20:00:00-07:00,2025-07-02T21:00:00-07:00,0.05,1000.01
"""


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def checked(path: Path, text: str, *more: str, market: str = "caiso-pdr") -> Result:
    path.write_text(text)
    return run("offer", "check", str(path), "--market", market, "--json", *(more or EVE))


def test_an_offer_that_may_leave_ends_with_0_and_says_what_was_not_tested(tmp_path: Path) -> None:
    done = checked(tmp_path / "o.toml", TOML)
    assert done.exit_code == 0, done.output
    (one,) = json.loads(done.output)["offers"]
    assert (one["ok"], one["gate"], one["closes"]) == (True, "day-ahead", "2025-07-01T10:00:00-07:00")
    assert one["power_mw"] == pytest.approx(0.8) and "telemetry" in one["untested"] and "shared" not in one["untested"]


def test_csv_and_toml_say_the_same_and_a_fault_has_rule_field_value_limit_and_source(tmp_path: Path) -> None:
    done = checked(tmp_path / "o.csv", CSV)
    assert done.exit_code == 1, done.output
    found = json.loads(done.output)
    alone = json.loads(checked(tmp_path / "o.toml", TOML.replace('shared = ["sub-lap", "lse"]', "")).output)
    assert found["offers"][0] == alone["offers"][0] and found["refused"] == 1
    assert [
        (no["rule"], no["field"], no["value"], no["limit"], no["mark"]) for no in found["offers"][1]["refusals"]
    ] == [
        ("caiso-pdr/minimum", "power_w", "50000", "100000 W or more", "K"),
        ("caiso-pdr/cap", "steps[0].price", "1000.01", "1000 USD at most", "K"),
    ]
    assert "4.13" in found["offers"][1]["refusals"][0]["source"]


def test_a_gate_that_has_closed_is_told_with_its_source_and_the_next_one_takes_over_by_itself(tmp_path: Path) -> None:
    after = ["--at", "2025-07-02T09:00:00-07:00"]
    taken = json.loads(checked(tmp_path / "o.toml", TOML, *after).output)["offers"][0]
    assert (taken["ok"], taken["gate"]) == (True, "real-time")
    late = checked(tmp_path / "o.toml", TOML + 'gate = "day-ahead"\n', *after)
    (no,) = json.loads(late.output)["offers"][0]["refusals"]
    assert (late.exit_code, no["rule"], no["mark"]) == (1, "caiso-pdr/gate", "K")
    assert "Market Operations" in no["source"]


def test_a_market_holds_offers_of_each_of_its_models(tmp_path: Path) -> None:
    mixed = (
        TOML
        + 'model = "caiso-pdr"\n'
        + TOML[TOML.index("[[offer]]") :].replace("evening", "b")
        + 'model = "caiso-derp"\n'
    )
    found = json.loads(checked(tmp_path / "o.toml", mixed, market="caiso").output)
    assert [one["model"] for one in found["offers"]] == ["caiso-pdr", "caiso-derp"]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("o.toml", TOML.replace("steps =", "stepps ="), "unknown field `stepps`"),
        ("o.toml", TOML.replace("17:00:00-07:00", "17:00:00"), "offer 1: start = '2025-07-02T17:00:00': give ISO 8601 with an offset"),
        ("o.toml", TOML.replace("2025-07-02T17", "1925-07-02T17"), "give a year from 2000 to 2199"),
        ("o.toml", TOML.replace("2025-07-02T18", "2025-07-02T16"), "give one after start"),
        ("o.toml", TOML + 'model = "pjm-economic"\n', "offer 1: model = 'pjm-economic': give one of caiso"),
        ("o.toml", TOML + 'gate = "noon"\n', "gate 'noon' of caiso-pdr is unknown"),
        ("o.toml", "offer = []\n", "offers = 0: give 1 to"),
        ("o.toml", "not toml", "o.toml: "),
        ("o.csv", CSV.replace("power_mw", "power_kw"), "columns = .*power_mw"),
        ("o.csv", CSV.replace("0.5,110", "half,110"), "row 2: power_mw = 'half': give a number"),
        ("o.csv", CSV.replace("0.5,110", "0.5"), "row 2: cells: give as many"),
        ("o.csv", CSV.replace("0.5,110", "0.5,110,9"), "row 2: cells: give as many"),
        ("o.csv", CSV + CSV.splitlines()[1], "row 4: offer = 'evening': let the rows of an offer follow each other"),
        ("o.csv", CSV.replace("18:00:00-07:00,0.5", "19:00:00-07:00,0.5"), "row 2: end = .*as its first row does"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_list_of_offers_is_refused_by_row_and_ends_with_2(tmp_path: Path, name, text, says) -> None:
    import re

    done = checked(tmp_path / name, text)
    assert done.exit_code == 2
    assert re.search(says, json.loads(done.stderr)["error"]), done.stderr


@pytest.mark.parametrize("bad", ["nan", "inf", "-inf", "1e300", "-1e300"])
def test_what_is_no_number_of_power_or_price_is_a_fault_of_the_offer_and_not_of_the_program(
    tmp_path: Path, bad: str
) -> None:
    for spoiled in (CSV.replace("0.5,110", f"{bad},110"), CSV.replace("0.5,110", f"0.5,{bad}")):
        done = checked(tmp_path / "o.csv", spoiled)
        assert done.exit_code == 1, done.output
        rules = {no["rule"] for no in json.loads(done.output)["offers"][0]["refusals"]}
        assert rules & {"caiso-pdr/power", "caiso-pdr/price"}


def test_an_unknown_market_is_refused_with_those_that_exist(tmp_path: Path) -> None:
    done = checked(tmp_path / "o.toml", TOML, market="spp")
    assert done.exit_code == 2 and "give one of aemo, caiso" in json.loads(done.stderr)["limit"]


def test_markets_are_listed_shown_and_counted_down_in_words_and_in_json() -> None:
    assert "caiso-pdr 2024.1" in run("markets", "list").output
    listed = json.loads(run("markets", "list", "--json").output)["markets"]
    assert [one["market"] for one in listed] == sorted(one["market"] for one in listed)
    shown = json.loads(run("markets", "show", "eu-fcr", "--json").output)["models"][0]
    assert {row["figure"]: row["mark"] for row in shown["figures"]}["interval_min"] == "V"
    assert "min_mw = 1 [V] regelleistung.net" in run("markets", "show", "eu-fcr").output
    at = ["--at", "2021-03-13T12:00:00-06:00"]
    (row,) = [
        one
        for one in json.loads(run("markets", "gates", "ercot", *at, "--json").output)["gates"]
        if one["gate"] == "day-ahead"
    ]
    assert (row["closes"], row["left_s"], row["day"]) == ("2021-03-14T10:00:00-05:00", 75_600.0, "2021-03-15")
    assert (
        "in 21:00:00: ercot day-ahead of 2021-03-15 closes 2021-03-14T10:00:00-05:00"
        in run("markets", "gates", "ercot", *at).output
    )
    everywhere = json.loads(run("markets", "gates", *at, "--json").output)["gates"]
    assert len({row["market"] for row in everywhere}) == 9
    assert [row["left_s"] for row in everywhere] == sorted(row["left_s"] for row in everywhere)
    assert run("markets", "gates", "ercot", "--at", "yesterday", "--json").exit_code == 2
