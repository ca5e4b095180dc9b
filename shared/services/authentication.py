"""What authorises a call: the resource's key if one is set, otherwise a token of the app's managed identity."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from azure.core.credentials import AccessToken, AccessTokenInfo, TokenRequestOptions
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import ClientAuthenticationError
from pydantic import SecretStr

from shared.errors import AccessDenied, Unavailable
from shared.redaction import hide, hide_token
from shared.text import error_line, one_line

Authentication = Callable[[], Awaitable[Mapping[str, str]]]
"""Returns the headers that authorise a call. Raises `AccessDenied`, `Unavailable` or an error of a library."""


def key_authentication(header: str, key: SecretStr) -> Authentication:
    """A resource's key, in the header where its API expects it."""
    hide(key.get_secret_value())

    async def headers() -> Mapping[str, str]:
        return {header: key.get_secret_value()}

    return headers


def identity_authentication(credential: AsyncTokenCredential, audience: str, instead: str) -> Authentication:
    """A token of the app's managed identity, which needs the role Cognitive Services User or an equal one.

    `credential` keeps its tokens and renews them in time. `instead` is the setting that would have a key, for an error.
    """

    async def headers() -> Mapping[str, str]:
        try:
            token = await credential.get_token(f"{audience}/.default")
        except ClientAuthenticationError as error:
            raise AccessDenied(
                f"no token for the app's identity; give it one (AZURE_CLIENT_ID names a user-assigned one), "
                f"or set {instead}: {one_line(_cause(error))}"
            ) from None
        except Exception as error:  # of any library: no call was made, so nothing was refused
            raise Unavailable(f"no token for the app's identity: {error_line(error)}") from None
        hide_token(token.token)
        return {"Authorization": f"Bearer {token.token}"}

    return headers


def _cause(error: Exception) -> str:
    """The sentence about the managed identity, if the library tried that among other ways to a token; else all."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line.startswith("ManagedIdentityCredential:")), str(error))


def new_credential(client_id: str | None) -> AsyncTokenCredential:
    """The app's identity: that of this client id, else the one that `AZURE_CLIENT_ID` names, or the system-assigned."""
    from azure.identity.aio import DefaultAzureCredential

    class Credential(DefaultAzureCredential):
        """Registers its tokens as secrets, whichever client asks for them."""

        async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
            token = await super().get_token(*scopes, **options)
            hide_token(token.token)
            return token

        async def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
            token = await super().get_token_info(*scopes, options=options)
            hide_token(token.token)
            return token

    # An explicit None would switch AZURE_CLIENT_ID off.
    return Credential(**({"managed_identity_client_id": client_id} if client_id else {}))
