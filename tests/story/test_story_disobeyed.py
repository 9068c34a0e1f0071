"""A device that takes 0 W under works and feeds in all the same is found, told of, and isolated by the crew."""

import json
from pathlib import Path

from click.testing import CliRunner

from tieline.node.cli import main
from tieline.node.demo import quiet, run_headless
from tieline.times import HOUR_NS, MINUTE_NS, iso, parse_iso

LIAR, GIVES_W = "pv-000003", 3_815.0


def test_who_feeds_in_under_works_though_it_took_0_w_is_isolated_within_minutes_and_why_says_what_it_gave(
    tmp_path: Path,
) -> None:
    quiet()
    result = run_headless(40, 13, "comms-loss", 2 * HOUR_NS, lambda line: None, tmp_path / "data")
    assert [p for p in result["promises"] if not p["held"]] == []
    (found,) = result["override"]["disobeyed"]
    assert found["resource"] == LIAR and abs(found["power_w"] - GIVES_W) < 50.0
    limited_ns, isolated_ns = parse_iso(result["override"]["when"]), parse_iso(found["isolated"])
    assert limited_ns < parse_iso(found["found"]) < isolated_ns <= limited_ns + 6 * MINUTE_NS
    (promise,) = [p for p in result["promises"] if p["name"] == "the DNO's limit holds"]
    assert f"{LIAR} 3.8 kW, isolated" in promise["evidence"]

    def command(at_ns: int) -> dict:
        told = CliRunner().invoke(main, ["why", LIAR, "--data", str(tmp_path / "data"), "--at", iso(at_ns), "--json"])
        assert told.exit_code == 0, told.output
        return json.loads(told.stdout)["command"]

    before = command(isolated_ns)
    assert before["stage"] == "UNCONFIRMED" and abs(before["read_back_w"] - GIVES_W) < 50.0
    later = [command(isolated_ns + minute * MINUTE_NS) for minute in range(2, 27, 2)]
    after = [one for one in later if parse_iso(one["issued"]) > isolated_ns]
    assert {one["read_back_w"] for one in after} <= {0.0, None}, "a renewal that is under way has shown nothing yet"
    assert any(one["stage"] == "DONE" and one["read_back_w"] == 0.0 for one in after)
