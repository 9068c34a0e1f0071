"""Id tokens: taken only with the right key, issuer, audience, time and nonce. The key is made here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from tieline.console.auth.oidc import NAME_LIMIT, OidcSettings, verify
from tieline.console.auth.roles import Role
from tieline.console.auth.sessions import Who
from tieline.resource.claim import Refusal
from tieline.times import SECOND_NS

NOW_S = 1_700_000_000
KEY = ECKey.generate_key("P-256", {"kid": "k1"})
JWKS = {"keys": [KEY.as_dict(private=False)]}
SETTINGS = OidcSettings("https://id.example", "tieline", role_of={"grid-ops": Role.OPERATOR})
CLAIMS = {
    "iss": "https://id.example", "aud": "tieline", "sub": "u1", "exp": NOW_S + 300, "iat": NOW_S, "nonce": "n1",
    "groups": ["grid-ops", "chess"], "preferred_username": "ann",
}  # fmt: skip


def _token(key: object = KEY, alg: str = "ES256", **changes: object) -> str:
    return jwt.encode({"alg": alg, "kid": "k1"}, {**CLAIMS, **changes}, key, algorithms=[alg])  # type: ignore[arg-type]


def _verify(token: str) -> Who | Refusal:
    return verify(token, SETTINGS, JWKS, nonce="n1", now_ns=NOW_S * SECOND_NS)


def test_a_right_token_gives_the_roles_of_its_groups() -> None:
    assert _verify(_token()) == Who("oidc:ann", (Role.OPERATOR,))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"iss": "https://other.example"}, "iss"), ({"aud": "other"}, "aud"), ({"aud": ["tieline", "other"]}, "aud"),
        ({"exp": NOW_S - 120}, "exp"), ({"exp": "soon"}, "exp"), ({"iat": NOW_S + 900}, "iat"),
        ({"nonce": "n2"}, "nonce"), ({"groups": ["chess"]}, "groups"), ({"groups": 7}, "groups"),
        ({"sub": None}, "sub"),
    ],
)  # fmt: skip
def test_a_token_that_is_wrong_in_one_claim_is_refused_by_its_name(changes: dict[str, object], field: str) -> None:
    refusal = _verify(_token(**changes))
    assert isinstance(refusal, Refusal)
    assert refusal.field == field


def test_a_token_signed_by_another_key_or_altered_is_refused() -> None:
    other = ECKey.generate_key("P-256", {"kid": "k1"})
    assert isinstance(_verify(_token(other)), Refusal)
    head, body, mark = _token().split(".")
    assert isinstance(_verify(f"{head}.{body[:-2]}AA.{mark}"), Refusal)
    assert isinstance(_verify("nonsense"), Refusal)


def test_a_shared_secret_is_never_a_signature() -> None:
    secret = OctKey.generate_key(256, {"kid": "k1"})
    assert isinstance(_verify(_token(secret, "HS256")), Refusal)


@given(st.text(max_size=100))
def test_two_names_of_the_provider_are_never_one_person_here(name: str) -> None:
    """What is taken is taken to the letter: no cut, no blank stripped, nothing that a reader can't see."""
    who = _verify(_token(preferred_username=name))
    if isinstance(who, Who):
        assert who.name == f"oidc:{name or 'u1'}"
        assert who.name.isprintable()
    else:
        assert (who.field, who.limit) == ("preferred_username", NAME_LIMIT)


@pytest.mark.parametrize(
    "name",
    [
        "ann.müller@utility.example",
        "Ann Müller",
        "山田 太郎",
        "アン Lee",
        "Анна Иванова",
        "O'Neill-Smith",
        "x" * 80,
        "u|7",
    ],
)
def test_names_as_people_have_them_are_taken(name: str) -> None:
    assert _verify(_token(preferred_username=name)) == Who(f"oidc:{name}", (Role.OPERATOR,))


@pytest.mark.parametrize(
    "name",
    [
        "x" * 81, "x" * 200, " ann", "ann ", "ann\n", "a\nn", "ann\t", "ann\u00a0lee", "ann\u200b", "an\u202en",
        "\uff41nn", "a\u0301nn", "ann  lee", "\u0430nn", "ann\u03bf", " ", 7, ["ann"], {"a": 1}, True,
        "ann\u00ad", "ann\ufe0f", "ann\u3164",
    ],
)  # fmt: skip
def test_a_name_that_reads_like_anothers_or_is_too_long_is_refused_with_its_reason(name: object) -> None:
    """Cut to 80 characters, two people would be one where two are needed; a look-alike would be two for a reader."""
    refusal = _verify(_token(preferred_username=name))
    assert isinstance(refusal, Refusal)
    assert refusal.field == "preferred_username"
    assert "name" in refusal.reason
    assert refusal.limit == NAME_LIMIT
    assert refusal.value.isprintable() and refusal.value.isascii()


@pytest.mark.parametrize("sub", ["", "x" * 81, "u1\n", " u1"])
def test_a_subject_that_stands_in_for_a_name_is_held_to_the_same(sub: str) -> None:
    refusal = _verify(_token(preferred_username=None, sub=sub))
    assert isinstance(refusal, Refusal)
    assert refusal.field == "sub"
