"""`tieline serve` is killed while an event runs: the API and the Events screen say what of it no server counted."""

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from data_folder import folder_with
from test_serve_moved import SERVER, TABLE, event
from test_serve_restart import signed_in
from test_serve_trades import PASSWORD, process

from patience import until


async def only(http: httpx.AsyncClient) -> dict[str, Any]:
    (found,) = (await http.get("/events")).json()
    return dict(found)


@pytest.mark.long
def test_an_event_in_which_a_server_was_killed_says_from_when_to_when_it_was_not_counted(tmp_path: Path) -> None:
    async def play() -> None:
        folder = folder_with(tmp_path, TABLE, "")

        async with process("-m", "tieline", "serve", "--data", str(folder), "--port", "0") as (child, url, secret):
            async with signed_in(url) as http:
                await http.post("/enrol", json={"secret": secret, "password": PASSWORD})
                await event(http, url)

                async def runs() -> bool:
                    return bool((await only(http))["state"] == "In Progress")

                await until(runs, "the event did not begin")
                await asyncio.sleep(2)
            child.kill()
            await child.wait()
        killed_ns = time.time_ns()
        async with (
            process(SERVER, str(folder), "0") as (_, url, _),
            signed_in(url) as http,
        ):
            it = await only(http)
            assert (it["counted_to_ns"], it["asked_wh"]) == (0, 0.0)
            assert (await http.post(f"/events/{it['id']}/cancel")).status_code == 200
            it = await only(http)
        (gap,) = it["uncounted"]
        assert it["start_ns"] <= gap[0] <= killed_ns - 10**9, "nothing of it was recorded before the kill"
        assert gap[1] > killed_ns, "the next server counts from its first beat on, which may be that of the cancel"
        hours = max(it["counted_to_ns"] - gap[1], 0) / 3.6e12
        assert abs(it["asked_wh"] - 11_000.0 * hours) < 0.1, "the sums hold what was counted since"

    asyncio.run(play())
