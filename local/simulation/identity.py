"""The token endpoint of App Service (`IDENTITY_ENDPOINT`, `IDENTITY_HEADER`), and which API takes its tokens.

    GET /msi/token?api-version=2019-08-01&resource=https://cognitiveservices.azure.com[&client_id=…]
    X-IDENTITY-HEADER: {header}

Without a client id the token is the system-assigned identity's. Tokens are signed with a key of this start; storage,
which is Azurite, looks at their times, audience and issuer only.
"""

import hmac
import secrets
from collections.abc import Mapping
from typing import Any

import jwt

from local.simulation.answers import Answer, json_answer
from local.simulation.models import Api, IdentitySetting, TokenRequest

API_VERSION = "2019-08-01"
HEADER = "x-identity-header"
TENANT = "0f0f0f0f-1111-4222-8333-444444444444"
ISSUER = f"https://sts.windows.net/{TENANT}/"
SYSTEM_ASSIGNED = "system-assigned"
ALGORITHM = "HS256"

PUBLIC_AUDIENCES: Mapping[Api, str] = {
    Api.CUSTOM_VISION: "https://cognitiveservices.azure.com",
    Api.FACE: "https://cognitiveservices.azure.com",
    Api.EVENT_GRID: "https://eventgrid.azure.net",
}


class Identity:
    """Gives tokens to whoever shows the header, and tells whether a token is good for an API."""

    def __init__(self, header: str) -> None:
        self.setting = IdentitySetting()
        self.audiences = dict(PUBLIC_AUDIENCES)
        self.requests: list[TokenRequest] = []
        self._header = header
        self._key = secrets.token_hex(32)

    def token(self, query: Mapping[str, str], headers: Mapping[str, str], now: float) -> Answer:
        """Answer a request for a token."""
        answer = self._answer(query, headers, now)
        request = TokenRequest(
            resource=query.get("resource", ""), client_id=query.get("client_id"), at=now, status=answer.status
        )
        self.requests.append(request)
        return answer

    def takes(self, token: str, api: Api, now: float) -> bool:
        """Whether a token was given here, for this API, and has not expired."""
        try:
            claims = jwt.decode(
                token,
                self._key,
                [ALGORITHM],
                audience=self.audiences[api],
                options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError:
            return False
        return bool(claims["nbf"] <= now < claims["exp"])

    def _answer(self, query: Mapping[str, str], headers: Mapping[str, str], now: float) -> Answer:
        if query.get("api-version") != API_VERSION:
            return _error(400, "Unsupported api-version.")
        if not hmac.compare_digest(headers.get(HEADER, ""), self._header):
            return _error(401, "The header X-IDENTITY-HEADER is missing or wrong.")
        if "resource" not in query:
            return _error(400, "The parameter resource is missing.")
        client_id = query.get("client_id")
        if client_id is None and not self.setting.system_assigned:
            return _error(400, "No managed identity was found: the app has no system-assigned one.")
        if client_id is not None and client_id not in self.setting.user_assigned:
            return _error(400, "No User Assigned or Delegated Managed Identity found for specified ClientId.")
        return self._give(query["resource"], client_id or SYSTEM_ASSIGNED, int(now))

    def _give(self, resource: str, client_id: str, now: int) -> Answer:
        expires_on = now + int(self.setting.lifetime_seconds)
        claims: dict[str, Any] = {
            "aud": resource,
            "iss": ISSUER,
            "iat": now,
            "nbf": now,
            "exp": expires_on,
            "appid": client_id,
            "tid": TENANT,
            "uti": secrets.token_hex(8),
        }
        return json_answer(
            200,
            {
                "access_token": jwt.encode(claims, self._key, ALGORITHM),
                "expires_on": str(expires_on),
                "resource": resource,
                "token_type": "Bearer",
                "client_id": client_id,
            },
        )


def _error(status: int, message: str) -> Answer:
    return json_answer(status, {"statusCode": status, "message": message})
