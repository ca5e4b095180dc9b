"""What authorises a call, and what is said where nothing does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.credentials import AccessToken, AccessTokenInfo
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from azure.identity import CredentialUnavailableError

from shared.errors import AccessDenied, ApiError, Unavailable
from shared.redaction import hide, redacted
from shared.services.api_errors import read_error
from shared.services.authentication import identity_authentication, new_credential
from tests.unit.shared.answers import ANYTHING, answer, client_answering, gateway_error, new_api

if TYPE_CHECKING:
    from shared.services.authentication import Authentication

AUDIENCE = "https://cognitiveservices.azure.com"
TOKEN = "marked-token"


class FakeCredential:
    def __init__(self, error: BaseException | None = None) -> None:
        self._error = error

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        assert scopes == (f"{AUDIENCE}/.default",)
        if self._error is not None:
            raise self._error
        return AccessToken(TOKEN, 0)


def identity(credential: FakeCredential) -> Authentication:
    return identity_authentication(
        credential,  # type: ignore[arg-type]
        AUDIENCE,
        "FACE_KEY",
    )


class TestIdentity:
    async def test_its_token_is_a_secret(self) -> None:
        client, _ = client_answering(answer(401, gateway_error(401, f"Bearer {TOKEN} is of another tenant")))
        api = new_api(client, identity(FakeCredential()))
        message = read_error(await api.call("GET", "/")).message
        assert "another tenant" in message
        assert TOKEN not in message

    async def test_its_token_is_sent(self) -> None:
        assert await identity(FakeCredential())() == {"Authorization": f"Bearer {TOKEN}"}

    @pytest.mark.parametrize("kind", [ClientAuthenticationError, CredentialUnavailableError])
    async def test_without_a_token_the_error_names_the_setting_that_would_do_instead(
        self, kind: type[ClientAuthenticationError]
    ) -> None:
        client, _ = client_answering(answer(200))
        api = new_api(client, identity(FakeCredential(kind("no\nidentity"))))
        with pytest.raises(AccessDenied, match=r"no token .*AZURE_CLIENT_ID.*or set FACE_KEY: no\\nidentity$"):
            await api.call("GET", "/")

    async def test_of_all_ways_to_a_token_the_managed_identitys_is_told(self) -> None:
        tried = "Attempted credentials:\n\tEnvironmentCredential: no.\n\tManagedIdentityCredential: 400, unknown client"
        with pytest.raises(AccessDenied, match=r": ManagedIdentityCredential: 400, unknown client$"):
            await identity(FakeCredential(ClientAuthenticationError(tried)))()

    @pytest.mark.parametrize(
        "error", [ServiceRequestError("unreachable"), *ANYTHING], ids=lambda error: type(error).__name__
    )
    async def test_whatever_else_keeps_a_token_away_is_waited_for(self, error: Exception) -> None:
        with pytest.raises(Unavailable, match=r"^no token for the app's identity: ") as caught:
            await identity(FakeCredential(error))()
        assert str(caught.value).isprintable()

    async def test_who_cancels_is_obeyed(self) -> None:
        with pytest.raises(asyncio.CancelledError):
            await identity(FakeCredential(asyncio.CancelledError()))()

    @pytest.mark.parametrize("error", [ClientAuthenticationError("marked-header"), OSError("marked-header")], ids=repr)
    async def test_no_error_tells_a_secret(self, error: Exception) -> None:
        hide("marked-header")
        with pytest.raises(ApiError) as caught:
            await identity(FakeCredential(error))()
        assert "marked-header" not in str(caught.value)
        assert caught.value.__suppress_context__

    @pytest.mark.parametrize(
        ("argument", "setting", "used"),
        [(None, None, None), (None, "of-the-app", "of-the-app"), ("of-storage", "of-the-app", "of-storage")],
    )
    async def test_a_user_assigned_one_is_named_by_the_librarys_setting_or_by_ours(
        self, monkeypatch: pytest.MonkeyPatch, argument: str | None, setting: str | None, used: str | None
    ) -> None:
        asked: list[Any] = []
        monkeypatch.setattr("azure.identity.aio._credentials.default.ManagedIdentityCredential", recording(asked))
        monkeypatch.delenv("AZURE_CLIENT_ID", raising=False)
        if setting is not None:
            monkeypatch.setenv("AZURE_CLIENT_ID", setting)
        await new_credential(argument).close()
        assert asked == [used]


@pytest.mark.parametrize(("method", "kind"), [("get_token", AccessToken), ("get_token_info", AccessTokenInfo)])
async def test_a_token_is_a_secret_whichever_client_asks_for_it(
    monkeypatch: pytest.MonkeyPatch, method: str, kind: type[AccessToken | AccessTokenInfo]
) -> None:
    """Those of storage and Event Grid, whose libraries ask by themselves."""
    token = kind(f"opaque words of {method}", 0)

    async def issue(*_: Any, **__: Any) -> AccessToken | AccessTokenInfo:
        return token

    monkeypatch.setattr(f"azure.identity.aio.DefaultAzureCredential.{method}", issue)
    credential = new_credential(None)
    assert await getattr(credential, method)("https://storage.azure.com/.default") is token
    assert redacted(f"it said {token.token}") == "it said [secret]"
    await credential.close()


def recording(asked: list[Any]) -> Any:
    """Stands for the managed identity's class and notes which identity is asked for."""

    class Recorded:
        def __init__(self, *, client_id: str | None = None, **_: Any) -> None:
            asked.append(client_id)

        async def close(self) -> None:
            pass

    return Recorded
