"""`tieline settle capacity|ladder|regulation|reserve|net-benefits|prohibited|claims`: from files, rows named, same bytes."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result

from tieline.node.cli import main

S2 = "start,minutes,commitment_mw,balancing_ratio,actual_mw\n2025-06-24T18:00:00-04:00,55,10,0.72,6.4\n"
START = datetime(2024, 7, 31, 20, tzinfo=UTC)


def run(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["settle", *(str(folder / w) if "." in w else w for w in words)])


def settle(folder: Path, *words: str) -> dict:
    done = run(folder, *words, "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    if "total" in found:
        assert sum(Decimal(line["amount"]) for line in found["lines"]) == Decimal(found["total"])
    return found


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")


def samples(folder: Path, header: str, *columns: np.ndarray, step_s: int = 10) -> None:
    rows = zip(*(column.tolist() for column in columns), strict=True)
    lines = [
        f"{(START + timedelta(seconds=step_s * k)).isoformat()},{','.join(map(str, row))}" for k, row in enumerate(rows)
    ]
    write(folder, "samples.csv", f"start,{header}\n" + "\n".join(lines).replace("nan", "") + "\n")


def test_vector_s2_from_a_file_in_csv_parquet_and_json_alike(tmp_path: Path) -> None:
    """Origin: 6-business.md S2: -6,847.13."""
    write(tmp_path, "c.csv", S2)
    row = {
        "start": "2025-06-24T18:00:00-04:00",
        "minutes": 55,
        "commitment_mw": 10,
        "balancing_ratio": 0.72,
        "actual_mw": 6.4,
    }
    write(tmp_path, "c.json", json.dumps([row]))
    pyarrow.parquet.write_table(pa.table({name: [value] for name, value in row.items()}), tmp_path / "c.parquet")
    found = [
        settle(tmp_path, "capacity", "iso-ne-pay-for-performance", f"c.{kind}") for kind in ("csv", "json", "parquet")
    ]
    assert {each["total"] for each in found} == {"-6847.13"}
    assert found[0]["versions"][0]["version"] == "2025.1"
    assert found[0]["by_cause"] == {"underperformed": "-6847.13"}
    assert len({each["statement"] for each in found}) == 3  # named by their bytes


def test_the_same_file_gives_the_same_bytes_and_lines_go_to_csv(tmp_path: Path) -> None:
    write(tmp_path, "c.csv", S2)
    words = ("capacity", "iso-ne-pay-for-performance", "c.csv", "--json", "--out", "lines.csv")
    first, again = run(tmp_path, *words), run(tmp_path, *words)
    assert first.stdout == again.stdout
    with (tmp_path / "lines.csv").open() as file:
        assert [row["amount"] for row in csv.DictReader(file)] == ["-6847.13"]


def test_each_interval_goes_by_the_version_of_its_own_day(tmp_path: Path) -> None:
    rows = S2 + "2021-05-31T18:00:00-04:00,60,10,0.5,6\n2021-06-01T18:00:00-04:00,60,10,0.5,6\n"
    write(tmp_path, "c.csv", rows)
    found = settle(tmp_path, "capacity", "iso-ne-pay-for-performance", "c.csv")
    assert [(line["rule_version"], line["amount"]) for line in found["lines"]] == [
        ("2018.1", "2000.00"), ("2021.1", "3500.00"), ("2025.1", "-6847.13"),
    ]  # fmt: skip


def test_what_pjm_excuses_costs_nothing_and_stands_on_the_statement(tmp_path: Path) -> None:
    write(
        tmp_path, "c.csv",
        "start,minutes,commitment_mw,balancing_ratio,actual_mw,cause,cause_share,resource\n"
        "2024-07-31T17:00:00-04:00,60,10,0.8,6,iso_instruction,0.25,a\n"
        "2024-07-31T17:00:00-04:00,60,10,0.8,6,opt_out,1,b\n",
    )  # fmt: skip
    found = settle(tmp_path, "capacity", "pjm-capacity-shortfall", "c.csv", "--net-cone", "300")
    by = {(line["resource"], line["cause"]): line["amount"] for line in found["lines"]}
    assert by == {("a", "iso_instruction"): "0.00", ("a", "underperformed"): "-5475.00", ("b", "opt_out"): "-7300.00"}
    assert found["total"] == "-12775.00"


def test_vector_g_from_a_file(tmp_path: Path) -> None:
    """Origin: vector G; its load 48, 46, 40, 32 kW keeps the level in each hour, so nothing is charged."""
    rows = "".join(f"2024-07-31T{16 + k}:00:00-04:00,90,55,1.031,{kw}\n" for k, kw in enumerate((48, 46, 40, 32)))
    write(tmp_path, "f.csv", "start,peak_load_kw,firm_kw,loss_factor,load_kw\n" + rows)
    found = settle(tmp_path, "capacity", "pjm-firm-service-level", "f.csv", "--net-cone", "300")
    assert [level["delivered_kw"] for level in found["levels"]] == [40.512, 42.574, 48.76, 57.008]
    assert {level["nominated_kw"] for level in found["levels"]} == {33.295}
    assert (found["total"], {level["complies"] for level in found["levels"]}) == ("0.00", {True})
    write(
        tmp_path, "f.csv", "start,peak_load_kw,firm_kw,loss_factor,load_kw\n2024-07-31T16:00:00-04:00,90,55,1.031,60\n"
    )
    short = settle(tmp_path, "capacity", "pjm-firm-service-level", "f.csv", "--net-cone", "300")
    assert short["total"] == "-18.82"  # 5 kW over its level x 1.031 = 5.155 kW, 3.65 $/kWh


def test_vector_s4_from_a_file(tmp_path: Path) -> None:
    rows = "".join(f"2024-0{k + 1}-01T00:00:00-08:00,500,{kw},12\n" for k, kw in enumerate((600, 500, 400, 350, 275)))
    write(tmp_path, "l.csv", "start,nominated_kw,delivered_kw,price_per_kw\n" + rows)
    found = settle(tmp_path, "ladder", "us-ca-capacity-bidding", "l.csv")
    assert [share["pay_share"] for share in found["shares"]] == [1.05, 1.0, 0.8, 0.35, -0.05]
    assert found["total"] == "18900.00"


def signal(count: int = 360) -> np.ndarray:
    return np.round(np.sin(np.arange(count) / 7.0) + 0.3 * np.sin(np.arange(count) / 3.0), 4)


def test_regulation_is_scored_and_paid_from_samples(tmp_path: Path) -> None:
    asked = signal()
    reference = np.round(np.sin(np.arange(360) / 30.0), 4)
    samples(tmp_path, "signal,response,reference", asked, asked, reference)
    write(tmp_path, "hours.csv", f"start,mw,rmccp,rmpcp\n{START.isoformat()},2,18.40,2.75\n")
    found = settle(tmp_path, "regulation", "pjm-regulation-mileage", "samples.csv", "--hours", "hours.csv")
    ratio = round(float(np.abs(np.diff(asked)).sum() / np.abs(np.diff(reference)).sum()), 6)
    assert found["hours"][0]["mileage_ratio"] == ratio
    assert (found["hours"][0]["score"], found["hours"][0]["qualifies"]) == (1.0, True)
    assert float(found["total"]) == pytest.approx(2 * (18.40 + ratio * 2.75), abs=0.005)


def test_samples_without_a_response_count_as_nothing_and_are_the_cause(tmp_path: Path) -> None:
    asked = signal()
    gave = asked.copy()
    gave[100:190] = np.nan
    samples(tmp_path, "signal,response", asked, gave)
    write(tmp_path, "hours.csv", f"start,mw,rmccp,rmpcp,mileage_ratio\n{START.isoformat()},2,18.40,2.75,2.8\n")
    found = settle(tmp_path, "regulation", "pjm-regulation-mileage", "samples.csv", "--hours", "hours.csv")
    assert found["hours"][0]["score"] < 0.9
    assert Decimal(found["by_cause"]["no_meter_data"]) < 0
    assert any("90 samples without a response" in flag for flag in found["flags"])


def test_fcr_and_afrr_are_paid_by_what_was_delivered_of_what_was_called(tmp_path: Path) -> None:
    samples(tmp_path, "hertz,actual_mw", np.array([49.8] * 180 + [50.0] * 180), np.array([0.75] * 180 + [0.0] * 180))
    write(tmp_path, "blocks.csv", f"start,minutes,mw,price\n{START.isoformat()},60,1,20\n")
    found = settle(tmp_path, "reserve", "eu-fcr", "samples.csv", "--blocks", "blocks.csv")
    assert (found["total"], found["currency"]) == ("15.00", "EUR")
    assert found["blocks"][0]["called_samples"] == 180
    samples(tmp_path, "set_point_mw,actual_mw", np.full(360, 1.0), np.full(360, 1.0))
    write(tmp_path, "blocks.csv", f"start,minutes,mw,price,energy_price\n{START.isoformat()},60,1,20,100\n")
    found = settle(tmp_path, "reserve", "eu-afrr", "samples.csv", "--blocks", "blocks.csv")
    assert found["by_kind"] == {"availability": "20.00", "energy": "100.00"}


def test_the_net_benefits_test_goes_by_the_month_on_the_rtos_clock(tmp_path: Path) -> None:
    """The last hour of July in Los Angeles is August in UTC."""
    write(tmp_path, "r.csv", "start,mwh,lmp\n2024-07-31T23:00:00-07:00,1,40\n2024-08-01T00:00:00-07:00,1,40\n")
    write(tmp_path, "t.csv", "rto,month,price\nCAISO,2024-07,45\nCAISO,2024-08,35\nPJM,2024-07,1\n")
    found = settle(tmp_path, "net-benefits", "r.csv", "--rto", "CAISO", "--thresholds", "t.csv")
    assert [(line["kind"], line["amount"]) for line in found["lines"]] == [("not_paid", "0.00"), ("energy", "40.00")]


def test_a_threshold_is_made_from_a_supply_curve(tmp_path: Path) -> None:
    q = np.linspace(20_000, 120_000, 40)
    rows = "".join(f"{float(np.exp(1 + mw / 50_000))!r},{mw}\n" for mw in q.tolist())
    write(tmp_path, "curve.csv", "price,mw\n" + rows)
    found = settle(tmp_path, "net-benefits", "curve.csv", "--curve")
    assert (found["price"], round(found["supply_mw"]), found["flags"]) == (7.39, 50_000, [])  # e squared


def test_vector_s8_from_a_file(tmp_path: Path) -> None:
    write(tmp_path, "p.csv", "start,performance_kw,prohibited_kw,price\n2024-07-31T17:00:00-07:00,180,120,1000\n")
    words = ("prohibited", "emergency_load_reduction", "p.csv", "--jurisdiction", "US-CA")
    assert settle(tmp_path, *words)["total"] == "60.00"
    assert settle(tmp_path, *words, "--event", "test")["total"] == "0.00"
    found = settle(tmp_path, *words, "--event", "emergency", "--location", "disadvantaged_community")
    assert (found["total"], found["rule"], found["eligible"]) == ("0.00", "us-ca-prohibited-disadvantaged", False)


def test_vector_s7_from_a_file(tmp_path: Path) -> None:
    """Origin: S7: baseline 100, metered 40, wholesale 35: retail may claim at most 25."""
    at = "2024-07-31T17:00:00-07:00"
    write(
        tmp_path,
        "c.csv",
        f"start,market,wanted_kw,baseline_kw,metered_kw\n{at},wholesale,35,100,40\n{at},retail,60,100,40\n",
    )
    found = settle(tmp_path, "claims", "c.csv")
    assert [(line["market"], line["granted_kw"], line["cause"]) for line in found["lines"]] == [
        ("wholesale", 35.0, ""), ("retail", 25.0, "claimed_elsewhere"),
    ]  # fmt: skip
    assert found["granted_kw"] == found["delivered_kw"] == 60.0


def test_every_faulty_row_is_named_at_once_with_field_value_and_limit(tmp_path: Path) -> None:
    write(
        tmp_path, "c.csv",
        S2 + "2025-06-24T18:00:00-04:00,55,10,0.72,6.4\n2025-06-24T20:00:00-04:00,55,,0.72,6.4\n"
        "2025-06-24T22:00:00-04:00,55,10,7.2,6.4\n",
    )  # fmt: skip
    done = run(tmp_path, "capacity", "iso-ne-pay-for-performance", "c.csv", "--json")
    assert (done.exit_code, done.stdout) == (2, "")
    told = json.loads(done.stderr)
    assert [(fault["field"], fault["value"]) for fault in told["faults"]] == [
        ("commitment_mw", "empty"), ("balancing_ratio", "7.2"), ("start", "2025-06-24T22:00:00Z"),
    ]  # fmt: skip
    assert "row 4: commitment_mw = empty: give 0 to 1e+06" in told["error"]
    assert "row 3: start = '2025-06-24T22:00:00Z': row 2 has the same" in told["error"]


BAD = [
    (("capacity", "iso-ne-pay-for-performance", "c.csv"), S2 + "2025-06-24T18:30:00-04:00,55,10,0.72,6.4\n", "row 3: start = '2025-06-24T22:30:00Z': row 2 lasts until"),
    (("capacity", "iso-ne-pay-for-performance", "c.csv"), S2.replace("2025-06", "2017-06"), "not in force on 2017-06-24"),
    (("capacity", "eu-fcr", "c.csv"), S2, "capacity rule 'eu-fcr' is unknown: give one of iso-ne"),
    (("capacity", "pjm-capacity-shortfall", "c.csv"), S2, "column net_cone is missing"),
    (("capacity", "pjm-capacity-shortfall", "c.csv", "--net-cone", "much"), S2, "--net-cone 'much': give"),
    (("capacity", "iso-ne-pay-for-performance", "c.csv", "--currency", "EUR"), S2, "--currency 'EUR': give USD: the rule's rate is in it"),
    (("capacity", "iso-ne-pay-for-performance", "c.csv"), S2.replace(",6.4", ",inf"), "actual_mw = inf: give a finite number"),
    (("capacity", "iso-ne-pay-for-performance", "c.csv"), S2.replace("-04:00", ""), "row 2: start = '2025-06-24T18:00:00': give ISO 8601"),
    (("capacity", "iso-ne-pay-for-performance", "c.csv"), S2.replace("mw\n", "mw,cause\n").replace("6.4\n", "6.4,luck\n"), "row 2: cause = 'luck': give one of"),
    (("capacity", "iso-ne-pay-for-performance", "c.csv"), S2.split("\n")[0] + "\n", "holds no row"),
    (("capacity", "iso-ne-pay-for-performance", "none.csv"), S2, "none.csv"),
    (("claims", "c.csv"), "start,market,wanted_kw\n2024-07-31T17:00:00Z,m,5\n", "row 2: delivered_kw = empty"),
    (("claims", "c.csv"), "start,market,wanted_kw,delivered_kw\n2024-07-31T17:00:00Z,m,5,9\n2024-07-31T17:00:00Z,n,5,8\n", "row 3: delivered_kw = 8: row 2 has 9"),
    (("claims", "c.csv"), "start,market,wanted_kw,delivered_kw\n2024-07-31T17:00:00Z,,5,9\n", "row 2: market = empty"),
    (("ladder", "us-ca-capacity-bidding", "c.csv"), "start,nominated_kw,delivered_kw,price_per_kw\n2024-07-31T17:00:00Z,0,5,9\n", "nominated_kw = 0: give 0.001"),
    (("net-benefits", "c.csv"), S2, "--rto, --thresholds: give both"),
    (("net-benefits", "c.csv", "--curve"), "price,mw\n1,5\n2,4\n", "2 points: give 10 or more"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "text", "says"), BAD)
def test_what_cannot_be_settled_is_refused_by_its_row_or_option(
    tmp_path: Path, words: tuple, text: str, says: str
) -> None:
    write(tmp_path, "c.csv", text)
    done = run(tmp_path, *words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_month_without_a_threshold_and_a_hole_in_the_samples_are_named(tmp_path: Path) -> None:
    write(tmp_path, "r.csv", "start,mwh,lmp\n2024-07-31T23:00:00-07:00,1,40\n")
    write(tmp_path, "t.csv", "rto,month,price\nPJM,2024-07,45\n")
    done = run(tmp_path, "net-benefits", "r.csv", "--rto", "CAISO", "--thresholds", "t.csv")
    assert "month = '2024-07': no threshold of CAISO" in done.stderr
    samples(tmp_path, "hertz,actual_mw", np.full(359, 50.0), np.zeros(359))
    write(tmp_path, "blocks.csv", f"start,minutes,mw,price\n{START.isoformat()},60,1,20\n")
    done = run(tmp_path, "reserve", "eu-fcr", "samples.csv", "--blocks", "blocks.csv")
    assert "no sample of at" not in done.stderr
    assert "no sample at 2024-07-31T20:59:50Z, 1 in all" in done.stderr
    write(tmp_path, "blocks.csv", f"start,minutes,mw,price,resource\n{START.isoformat()},59,1,20,b\n")
    assert "resource = 'b'" in run(tmp_path, "reserve", "eu-fcr", "samples.csv", "--blocks", "blocks.csv").stderr


def test_a_set_point_beyond_what_was_sold_is_refused(tmp_path: Path) -> None:
    samples(tmp_path, "set_point_mw,actual_mw", np.full(360, 2.0), np.full(360, 1.0))
    write(tmp_path, "blocks.csv", f"start,minutes,mw,price\n{START.isoformat()},60,1,20\n")
    done = run(tmp_path, "reserve", "eu-afrr", "samples.csv", "--blocks", "blocks.csv")
    assert "row 2: set_point_mw = 2" in done.stderr


def test_what_is_no_product_is_a_baseline_rule_and_a_misspelt_one_is_told_both() -> None:
    done = CliRunner().invoke(main, ["settle", "capcity", "x.csv"])
    assert (done.exit_code, "product or baseline rule 'capcity' is unknown: give one of capacity" in done.stderr) == (
        2,
        True,
    )
    listed = json.loads(CliRunner().invoke(main, ["rules", "list", "--json"]).stdout)["products"]
    assert {"eu-fcr", "iso-ne-pay-for-performance", "pjm-regulation-mileage"} <= {each["rule"] for each in listed}
    shown = json.loads(CliRunner().invoke(main, ["rules", "show", "iso-ne-pay-for-performance", "--json"]).stdout)
    assert [one["rate_per_mwh"] for one in shown["versions"]] == ["2000", "3500", "5455", "9337"]


def test_a_rules_market_has_its_currency_and_prices_may_be_in_another(tmp_path: Path) -> None:
    samples(tmp_path, "hertz,actual_mw", np.full(360, 50.0), np.zeros(360))
    write(tmp_path, "blocks.csv", f"start,minutes,mw,price\n{START.isoformat()},60,1,20\n")
    words = ("reserve", "gb-dynamic-regulation", "samples.csv", "--blocks", "blocks.csv")
    assert settle(tmp_path, *words)["currency"] == "GBP"
    assert settle(tmp_path, *words, "--currency", "EUR")["currency"] == "EUR"
    assert "--currency 'euro': give three capital letters" in run(tmp_path, *words, "--currency", "euro").stderr
