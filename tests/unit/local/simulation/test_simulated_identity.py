"""The simulated token endpoint of App Service, and which API takes its tokens."""

import httpx
import pytest

from local.simulation.control import SimulationControl
from local.simulation.models import Api, IdentitySetting
from tests.unit.local.simulation.clients import CustomVisionClient, FaceClient, SettableClock, make_ids
from tests.unit.local.simulation.conftest import CREDENTIALS

COGNITIVE_SERVICES = "https://cognitiveservices.azure.com"
QUERY = {"api-version": "2019-08-01", "resource": COGNITIVE_SERVICES}


async def ask(http: httpx.AsyncClient, header: str = CREDENTIALS.identity_header, **query: str) -> httpx.Response:
    parameters = {
        **QUERY,
        **{name.replace("_", "-") if name == "api_version" else name: it for name, it in query.items()},
    }
    return await http.get("/msi/token", params=parameters, headers={"X-IDENTITY-HEADER": header})


async def bearer(http: httpx.AsyncClient, **query: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {(await ask(http, **query)).json()['access_token']}"}


async def test_a_token_is_as_app_service_gives_it(
    control: SimulationControl, http: httpx.AsyncClient, clock: SettableClock
) -> None:
    token = (await ask(http)).json()
    assert token["token_type"] == "Bearer"
    assert token["resource"] == COGNITIVE_SERVICES
    assert int(token["expires_on"]) == clock.now + 24 * 3600
    (request,) = await control.token_requests()
    assert (request.resource, request.client_id, request.status) == (COGNITIVE_SERVICES, None, 200)


@pytest.mark.parametrize(
    ("header", "query", "status"),
    [
        ("another", {}, 401),
        (CREDENTIALS.identity_header, {"api_version": "2017-09-01"}, 400),
        (CREDENTIALS.identity_header, {"client_id": "unknown"}, 400),
    ],
    ids=["header", "version", "client"],
)
async def test_who_asks_wrongly_gets_none(
    http: httpx.AsyncClient, header: str, query: dict[str, str], status: int
) -> None:
    response = await ask(http, header, **query)
    assert response.status_code == status
    assert "access_token" not in response.text


async def test_the_app_has_the_identities_that_it_is_given(control: SimulationControl, http: httpx.AsyncClient) -> None:
    await control.set_identity(IdentitySetting(system_assigned=False, user_assigned=("mine",)))
    assert (await ask(http)).status_code == 400
    assert (await ask(http, client_id="mine")).json()["client_id"] == "mine"


async def test_an_api_takes_tokens_for_its_audience_until_they_expire(
    control: SimulationControl,
    http: httpx.AsyncClient,
    custom_vision: CustomVisionClient,
    face: FaceClient,
    clock: SettableClock,
) -> None:
    headers = await bearer(http)
    assert (await custom_vision.update(make_ids(1), headers=headers)).status_code == 207
    assert (await face.training("staff", headers=headers)).status_code == 404
    other = await bearer(http, resource="https://cognitiveservices.azure.us")
    assert (await face.training("staff", headers=other)).status_code == 401
    await control.set_audience(Api.FACE, "https://cognitiveservices.azure.us")
    assert (await face.training("staff", headers=other)).status_code == 404
    assert (await face.training("staff", headers=headers)).status_code == 401
    clock.advance(24 * 3600)
    assert (await face.training("staff", headers=other)).status_code == 401


@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c", "eyJhbGciOiJub25lIn0.eyJhdWQiOiJ4In0."])
async def test_what_is_no_token_of_this_endpoint_is_refused(face: FaceClient, token: str) -> None:
    assert (await face.training("staff", headers={"Authorization": f"Bearer {token}"})).status_code == 401
