"""What lets a call in: a resource's key, or a token of the app's managed identity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from shared.errors import AccessDenied, Unavailable
from shared.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from azure.core.credentials_async import AsyncTokenCredential
    from pydantic import SecretStr

COGNITIVE_SERVICES_SCOPE = "https://cognitiveservices.azure.com/.default"


class Authentication(Protocol):
    """Lets a call in."""

    async def headers(self) -> Mapping[str, str]:
        """The headers that authorise a call. Raises `AccessDenied` and `Unavailable`."""
        ...


class KeyAuthentication:
    """A resource's key, in the header that its API wants it in."""

    def __init__(self, header: str, key: SecretStr) -> None:
        self._header = header
        self._key = key

    async def headers(self) -> Mapping[str, str]:
        """The key in its header."""
        return {self._header: self._key.get_secret_value()}


class IdentityAuthentication:
    """The app's managed identity (Microsoft Entra), which needs the role Cognitive Services User or an equal one.

    `instead` names the setting of the key that would be used if it were set.
    """

    def __init__(self, credential: AsyncTokenCredential, instead: str) -> None:
        self._credential = credential
        self._instead = instead

    async def headers(self) -> Mapping[str, str]:
        """A token of the identity. Raises `AccessDenied` if none is given, `Unavailable` if nobody can be asked."""
        from azure.core.exceptions import AzureError, ClientAuthenticationError

        try:
            token = await self._credential.get_token(COGNITIVE_SERVICES_SCOPE)
        except ClientAuthenticationError as error:
            raise AccessDenied(
                f"no token for the app's identity ({one_line(error.message)}); give it one, or set {self._instead}"
            ) from None
        except AzureError as error:
            raise Unavailable(f"no token for the app's identity: {one_line(error.message)}") from None
        return {"Authorization": f"Bearer {token.token}"}


def new_credential(client_id: str | None) -> AsyncTokenCredential:
    """The app's identity: the user-assigned one of this client id, or else the system-assigned one."""
    from azure.identity.aio import DefaultAzureCredential

    return DefaultAzureCredential(managed_identity_client_id=client_id)
