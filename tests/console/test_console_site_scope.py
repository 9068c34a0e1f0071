"""An owner's account that names a site: all that stands behind it is his, as it stands at each look, and nothing else."""

from __future__ import annotations

import httpx
from console_stage import TRUSTED, Running

from tieline.resource.identity import Kind


def test_a_scope_takes_a_site_and_means_all_behind_it_and_no_other_group(running: Running) -> None:
    fleet = running.stage.node.state.fleet
    site = next(group.id for group in fleet.groups if group.kind is Kind.SITE and len(fleet.leaves(group.id)) > 1)
    mine = sorted(fleet.id_of(int(row)) for row in fleet.leaves(site))
    other = next(name for name in fleet.ids if name not in mine)
    feeder = next(group.id for group in fleet.groups if group.kind is Kind.FEEDER)
    with running.client("ann") as admin:
        for scope in ([feeder], ["nowhere"], [site, feeder]):
            wrong = admin.post("/api/v1/accounts", json={"name": "sita", "roles": ["owner"], "scope": scope})
            assert (wrong.status_code, wrong.json()["field"]) == (422, "scope")
        made = admin.post("/api/v1/accounts", json={"name": "sita", "roles": ["owner"], "scope": [site]})
        assert made.status_code == 200, made.text
    with httpx.Client(base_url=f"{running.url}/api/v1", timeout=60, verify=TRUSTED) as owner:
        told = owner.post("/enrol", json={"secret": made.json()["secret"], "password": "a long pass phrase"})
        assert told.json()["scope"] == owner.get("/me").json()["scope"] == mine
        for name in mine:
            assert owner.get(f"/resources/{name}").status_code == 200
        assert owner.get(f"/resources/{other}").status_code == 403
        assert owner.post(f"/resources/{other}/opt-out").status_code == 403
        out = owner.post(f"/resources/{site}/opt-out")
        assert (out.status_code, out.json()["done"]) == (200, True), out.text
        assert owner.post(f"/resources/{site}/opt-in").status_code == 200
