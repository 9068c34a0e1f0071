"""`tieline serve` is killed: who was signed in at the console still is, and who signed out is not."""

import asyncio
from pathlib import Path

import httpx
from data_folder import folder_with
from test_serve_trades import PASSWORD, process

TABLE = "id,kind,max_inject_w,max_absorb_w\nb1,battery,5000,5000\n"


def test_a_kill_of_the_server_signs_out_nobody_and_signs_in_nobody(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, TABLE)
    first = ("-m", "tieline", "serve", "--data", str(folder), "--port", "0")
    again = (str(Path(__file__).parent / "later_server.py"), str(folder), "0")

    async def statuses(url: str, cookies: list[str]) -> list[int]:
        found = []
        for cookie in cookies:
            async with httpx.AsyncClient(timeout=60, cookies={"tieline_session": cookie}) as http:
                found.append((await http.get(f"{url}/api/v1/me")).status_code)
        return found

    async def play() -> None:
        cookies = []
        async with process(*first) as (child, url, secret):
            async with httpx.AsyncClient(timeout=60, base_url=f"{url}/api/v1") as http:
                assert (await http.post("/enrol", json={"secret": secret, "password": PASSWORD})).status_code == 200
                cookies.append(http.cookies["tieline_session"])
                http.cookies.clear()
                assert (await http.post("/sign-in", json={"name": "admin", "password": PASSWORD})).status_code == 200
                cookies.append(http.cookies["tieline_session"])
                assert (await http.post("/sign-out")).status_code == 200
            child.kill()
            await child.wait()
        async with process(*again) as (child, url, _):
            assert await statuses(url, cookies) == [200, 401]
            async with httpx.AsyncClient(timeout=60, cookies={"tieline_session": cookies[0]}) as http:
                assert (await http.post(f"{url}/api/v1/sign-out")).status_code == 200
            child.kill()
            await child.wait()
        async with process(*again) as (_, url, _):
            assert await statuses(url, cookies) == [401, 401]

    asyncio.run(play())
