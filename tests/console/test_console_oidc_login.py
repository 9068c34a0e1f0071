"""Signing in through a provider by other hands, in a process of its own that insists on PKCE."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec
import pytest
from console_stage import Running

from ports import free_port
from tieline.console.app import create_app
from tieline.console.auth.oidc import OidcSettings
from tieline.console.auth.oidc_login import LASTS_S, OidcLogin, is_safe
from tieline.console.auth.roles import Role
from tieline.resource.claim import Refusal
from tieline.rim.clock import SystemClock
from tieline.rim.serve import serve_asgi

PEOPLE = {
    "u-17": {"preferred_username": "ann", "groups": ["grid-operators", "chess"]},
    "u-18": {"preferred_username": "guest", "groups": ["chess"]},
}


@dataclass
class _Door:
    """A console with a provider, and the provider's way in itself."""

    url: str
    login: OidcLogin
    now_s: list[float]

    def browser(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, follow_redirects=False, timeout=60.0)

    def at_provider(self, browser: httpx.Client) -> str:
        """Begin, and return the address to which the provider leads."""
        answer = browser.get("/oidc/login")
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    @staticmethod
    def back(address: str, **form: str) -> str:
        """Answer the provider's page, and return where it sends the browser."""
        answer = httpx.post(address, data=form, timeout=60.0)
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    port = free_port()
    script = Path(__file__).parent / "oidc_provider.py"
    process = subprocess.Popen(
        [sys.executable, str(script), str(port)], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(json.dumps(PEOPLE).encode() + b"\n")
    process.stdin.close()
    url = f"http://127.0.0.1:{port}"
    for _ in range(300):
        try:
            httpx.get(f"{url}/.well-known/openid-configuration", timeout=10.0)
            break
        except httpx.HTTPError:
            assert process.poll() is None
            time.sleep(0.1)
    yield url
    process.terminate()
    process.wait(10)


@pytest.fixture(scope="module")
def door(running: Running, issuer: str) -> Iterator[_Door]:
    port, now_s = free_port(), [1_000.0]
    settings = OidcSettings(
        issuer, "tieline", redirect_uri=f"http://127.0.0.1:{port}/oidc/callback", label="the utility's account",
        role_of={"grid-operators": Role.OPERATOR},
    )  # fmt: skip
    console = running.console
    login = OidcLogin(settings, SystemClock(), lambda: now_s[0], console.accounts.secret)

    async def serve() -> asyncio.Server:
        loop = asyncio.get_running_loop()
        app = create_app(console.reader, console.operator, console.accounts, loop.time, oidc=login)
        return await serve_asgi(app, "127.0.0.1", port, None)

    server = asyncio.run_coroutine_threadsafe(serve(), running.loop).result(30)
    yield _Door(f"http://127.0.0.1:{port}", login, now_s)
    running.loop.call_soon_threadsafe(server.close)


def test_a_person_of_the_provider_is_signed_in_with_the_roles_of_his_groups(door: _Door, running: Running) -> None:
    with door.browser() as browser:
        ways = browser.get("/api/v1/sign-in/ways").json()
        assert (ways["password"], ways["provider"]) == (True, "the utility's account")
        assert ways["says"].startswith("The first time, ")
        there = door.at_provider(browser)
        assert "code_challenge_method=S256" in there
        answer = browser.get(door.back(there, sub="u-17"))
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        cookie = next(c for c in answer.headers.get_list("set-cookie") if c.startswith("tieline_session="))
        assert "httponly" in cookie.lower()
        assert "samesite=strict" in cookie.lower()
        who = browser.get("/api/v1/me").json()
        assert (who["name"], who["roles"]) == ("oidc:ann", ["operator"])
        assert browser.get("/api/v1/overview").status_code == 200
        assert browser.get("/api/v1/audit").status_code == 403
    with running.client("auditor") as auditor:
        rows = auditor.get("/api/v1/audit?kind=Audited&count=20").json()["rows"]
    assert any(row["says"].startswith("oidc:ann: sign in by provider: done") for row in rows)


def _refused(answer: httpx.Response) -> str:
    assert answer.status_code == 303
    assert "tieline_session" not in answer.headers.get("set-cookie", "")
    return answer.headers["location"]


def test_a_person_whose_groups_give_no_role_stays_out(door: _Door) -> None:
    with door.browser() as browser:
        said = _refused(browser.get(door.back(door.at_provider(browser), sub="u-18")))
        assert "gives%20a%20role" in said
        assert browser.get("/api/v1/me").status_code == 401


def test_the_provider_refuses_a_code_without_its_verifier(door: _Door) -> None:
    """PKCE is really in use: with another verifier the same code gives nothing (RFC 7636, 4.6)."""
    with door.browser() as browser:
        back = door.back(door.at_provider(browser), sub="u-17")
        key = next(reversed(door.login._pending))
        held = door.login._pending[key]
        door.login._pending[key] = dataclasses.replace(held, verifier="x" * 43)
        assert "provider%20refused" in _refused(browser.get(back))


def test_an_answer_works_once_and_in_the_browser_that_asked(door: _Door) -> None:
    with door.browser() as browser, door.browser() as other:
        back = door.back(door.at_provider(browser), sub="u-17")
        door.at_provider(other)
        assert "another%20browser" in _refused(other.get(back))
        assert "not%20begun%20here" in _refused(browser.get(back))


def test_an_answer_is_too_late_after_ten_minutes(door: _Door) -> None:
    with door.browser() as browser:
        back = door.back(door.at_provider(browser), sub="u-17")
        door.now_s[0] += LASTS_S
        assert "too%20long%20ago" in _refused(browser.get(back))


def test_who_is_denied_by_the_provider_reads_why(door: _Door) -> None:
    with door.browser() as browser:
        there = door.at_provider(browser)
        state = httpx.URL(there).params["state"]
        said = _refused(browser.get("/oidc/callback", params={"error": "access_denied", "state": state}))
    assert "access_denied" in said


def test_guesses_at_the_callback_leave_no_record(door: _Door, running: Running) -> None:
    before = running.stage.node.journal.of_kind("Audited")
    count = sum(1 for _ in before)
    with door.browser() as browser:
        for n in range(20):
            _refused(browser.get("/oidc/callback", params={"code": "x", "state": f"guess-{n}"}))
    assert sum(1 for _ in running.stage.node.journal.of_kind("Audited")) == count


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"issuer": f"http://127.0.0.1:{free_port()}"}, "does not answer"),
        ({"issuer": "http://id.example"}, "not safe"),
    ],
)
def test_a_provider_that_is_down_or_unsafe_is_a_refusal_and_no_failure(door: _Door, changes: dict, said: str) -> None:
    settings = msgspec.structs.replace(door.login.settings, **changes)
    login = OidcLogin(settings, SystemClock(), lambda: 0.0, lambda: "s")
    refusal = asyncio.run(login.begin())
    assert isinstance(refusal, Refusal)
    assert said in refusal.reason


@pytest.mark.parametrize(
    ("url", "safe"),
    [("https://id.example/x", True), ("http://127.0.0.1:9/x", True), ("http://id.example/x", False),
     ("ftp://127.0.0.1/x", False), ("/x", False)],
)  # fmt: skip
def test_secrets_go_over_tls_or_stay_on_this_machine(url: str, safe: bool) -> None:
    assert is_safe(url) is safe
