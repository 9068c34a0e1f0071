"""An OpenID Connect provider by other hands, in a process of its own: `oidc-provider-mock` over Authlib.

Its authorization server is told to insist on PKCE with S256, by Authlib's own RFC 7636 extension.
Run as `python oidc_provider.py PORT`.
"""

from __future__ import annotations

import json
import os
import sys

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # plain http on loopback

import uvicorn
from authlib.oauth2.rfc7636 import CodeChallenge
from oidc_provider_mock import _app, app
from oidc_provider_mock._storage import User

CHALLENGES: dict[str, tuple[str, str]] = {}


class Pkce(CodeChallenge):
    """RFC 7636 as Authlib has it, over codes that the provider keeps."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ["S256"]
    DEFAULT_CODE_CHALLENGE_METHOD = "S256"

    def get_authorization_code_challenge(self, authorization_code):
        return CHALLENGES[authorization_code.code][0]

    def get_authorization_code_challenge_method(self, authorization_code):
        return CHALLENGES[authorization_code.code][1]


class Grant(_app.AuthorizationCodeGrant):
    """Keeps the challenge beside each code; takes public clients, which PKCE alone protects."""

    TOKEN_ENDPOINT_AUTH_METHODS = ["none", "client_secret_basic"]

    def save_authorization_code(self, code, request):
        data = request.payload.data
        CHALLENGES[code] = (data["code_challenge"], data["code_challenge_method"])
        super().save_authorization_code(code, request)


def main(port: int) -> None:
    people = [User(sub=name, claims=claims) for name, claims in json.loads(sys.stdin.readline()).items()]
    _app.AuthorizationCodeGrant = Grant
    registered = _app.flask_oauth2.AuthorizationServer.register_grant

    def register(self, grant, extensions=None):
        more = [Pkce(required=True)] if grant is Grant else []
        registered(self, grant, [*(extensions or []), *more])

    _app.flask_oauth2.AuthorizationServer.register_grant = register
    uvicorn.run(app(user_claims=people), interface="wsgi", port=port, log_level="error")


if __name__ == "__main__":
    main(int(sys.argv[1]))
