"""Readings over HTTP: by a gateway's token alone, durable when answered, each bad row named, nothing of it in the journal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import numpy as np
import pytest

from tieline.bench.arbitrate import plain_fleet
from tieline.console.app import create_app
from tieline.console.auth.accounts import Accounts
from tieline.console.auth.roles import Role
from tieline.node.config import load_config, write_example
from tieline.node.operator import NodeOperator
from tieline.node.reader import NodeReader, Sources
from tieline.node.serve import node_of
from tieline.rim.supervise import Supervisor
from tieline.store import registry
from tieline.store.segment import read_segment
from tieline.store.series import Historian, Wal
from tieline.times import MINUTE_NS, SECOND_NS

TAKEN_NS = [time.time_ns() - MINUTE_NS, time.time_ns() - SECOND_NS]
GOOD = {"point": "power_w", "resource": ["battery-0", "battery-3"], "value": [5.0, -2.0], "taken_at_ns": TAKEN_NS}


def asked(folder: Path, calls: list[tuple[str | None, object]], sync=None) -> tuple[list[httpx.Response], dict]:
    """Send bodies with the tokens of some roles to a served data folder; return the answers and what it holds then."""
    write_example(folder / "tieline.toml")
    registry.save(plain_fleet(5), folder / "registry.bin")

    async def main() -> tuple[list[httpx.Response], dict]:
        async with Supervisor(np.random.default_rng(0)) as supervisor:
            node = node_of(folder, load_config(folder / "tieline.toml"), supervisor, None)
            wal = Wal(folder / "readings") if sync is None else Wal(folder / "readings", sync)
            intake = node.keep_readings(wal, Historian(folder / "historian"))
            accounts = Accounts(node.group.append, node.clock, lambda: 0.0, lambda count: rng.bytes(count))
            reader = NodeReader(node, Sources(), node.journal.reader())
            app = create_app(reader, NodeOperator(node, reader), accounts, lambda: 0.0, intake=intake)
            tokens = {}
            for role, scope in (
                (Role.GATEWAY, ()),
                (Role.OPERATOR, ()),
                (Role.OWNER, ()),
                (Role.GATEWAY, ("battery-3",)),
            ):
                name = f"{role.value}{'-of-one' if scope else ''}"
                await accounts.enrol(accounts.invite(name, (role,), sets_password=False, scope=scope), "")
                tokens[name] = await accounts.make_token(name)
            before = node.journal.last_seq
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
                answers = []
                for name, body in calls:
                    head = {"authorization": f"Bearer {tokens[name]}"} if name else {}
                    answers.append(await client.post("/api/v1/readings", json=body, headers=head))
            rows = [row for path in wal.segments() for row in read_segment(path).to_pylist()]
            return answers, {
                "rows": rows,
                "recorded": node.journal.last_seq - before,
                "power": node.state.fleet.power_w,
            }

    rng = np.random.default_rng(7)
    return asyncio.run(main())


def test_a_gateway_sends_and_its_readings_are_on_disk_with_value_quality_and_time(tmp_path: Path) -> None:
    (answer,), held = asked(tmp_path, [("gateway", {**GOOD, "quality": [0, 4]})])
    assert (answer.status_code, answer.json()) == (200, {"taken": 2, "refused": []})
    found = [(r["row"], r["value"], r["quality"], r["taken_at_ns"]) for r in held["rows"]]
    assert found == [(0, 5.0, 0, TAKEN_NS[0]), (3, -2.0, 4, TAKEN_NS[1])]
    assert held["power"][[0, 3]].tolist() == [5.0, -2.0]
    assert held["recorded"] == 0


def test_bad_rows_are_named_and_the_good_ones_are_taken(tmp_path: Path) -> None:
    body = {**GOOD, "resource": ["battery-0", "nobody"]}
    (unknown, other), held = asked(tmp_path, [("gateway", body), ("gateway-of-one", GOOD)])
    assert unknown.json() == {"taken": 1, "refused": [[1, "unknown resource"]]}
    assert other.json() == {"taken": 1, "refused": [[0, "not within your scope"]]}
    assert [r["row"] for r in held["rows"]] == [0, 3]


def test_a_value_that_its_quantity_cannot_be_is_named_with_its_range_and_its_neighbours_are_taken(
    tmp_path: Path,
) -> None:
    def body(point: str, values: list[float], taken_ns: Sequence[int] = TAKEN_NS) -> dict:
        return {**GOOD, "point": point, "value": values, "taken_at_ns": taken_ns}

    bodies = [
        body("soc_frac", [7.0, 1.0]), body("soc_frac", [-0.1, 0.0]), body("power_w", [1e300, 3.0]),
        body("operating_state", [9.0, 2.0]), body("power_factor", [-1.5, -1.0]), body("power_w", [1.0, 2.0], (-5, TAKEN_NS[0])),
    ]  # fmt: skip
    answers, held = asked(tmp_path, [("gateway", one) for one in bodies])
    assert [answer.json()["refused"] for answer in answers] == [
        [[0, "soc_frac 7: give 0 to 1"]],
        [[0, "soc_frac -0.1: give 0 to 1"]],
        [[0, "power_w 1e+300: give -1e+12 to 1e+12 W"]],
        [[0, "operating_state 9: give 0 to 5"]],
        [[0, "power_factor -1.5: give -1 to 1"]],
        [[0, "taken_at_ns -5: not after 1970"]],
    ]
    assert [row["value"] for row in held["rows"]] == [1.0, 0.0, 3.0, 2.0, -1.0, 2.0]


@pytest.mark.parametrize(("name", "status"), [(None, 401), ("operator", 403), ("owner", 403)])
def test_nobody_but_a_gateway_may_send(tmp_path: Path, name: str | None, status: int) -> None:
    (answer,), held = asked(tmp_path, [(name, GOOD)])
    assert answer.status_code == status
    assert held["rows"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({**GOOD, "point": "colour"}, "point"),
        ({**GOOD, "value": [1.0]}, "resource"),
        ({**GOOD, "taken_at_ns": [2**70, 1]}, "taken_at_ns, quality"),
        ({**GOOD, "more": 1}, "body"),
        ([], "body"),
    ],
)
def test_a_bad_body_is_a_problem_that_names_field_value_and_limit(tmp_path: Path, body: object, field: str) -> None:
    (answer,), held = asked(tmp_path, [("gateway", body)])
    said = answer.json()
    assert answer.status_code == 422
    assert said["field"] == field
    assert said["value"]
    assert said["limit"]
    assert held["rows"] == []


def test_a_disk_that_fails_is_answered_as_such_and_nothing_is_shown_or_kept(tmp_path: Path) -> None:
    def sync(handle: int) -> None:
        raise OSError(28, "No space left on device")

    (answer,), held = asked(tmp_path, [("gateway", GOOD)], sync)
    assert answer.status_code == 503
    assert "No space left on device: readings were not kept" in answer.json()["detail"]
    assert held["rows"] == []
    assert np.isnan(held["power"]).all()
