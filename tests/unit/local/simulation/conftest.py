"""The simulation in this process: no socket, and a clock that tests move."""

from collections.abc import AsyncIterator

import httpx
import pytest

from local.simulation.app import create_app
from local.simulation.control import SimulationControl
from local.simulation.gateway import Credentials
from local.simulation.simulation import Simulation
from tests.unit.local.simulation.clients import ADDRESS, PROJECT, CustomVisionClient, FaceClient, SettableClock

CREDENTIALS = Credentials("custom-vision-key", "face-key", "bearer-token")


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def transport(clock: SettableClock) -> httpx.ASGITransport:
    return httpx.ASGITransport(create_app(Simulation(CREDENTIALS, clock)))


@pytest.fixture
async def control(transport: httpx.ASGITransport) -> AsyncIterator[SimulationControl]:
    async with SimulationControl(ADDRESS, transport) as control:
        await control.add_images(PROJECT)
        yield control


@pytest.fixture
async def http(transport: httpx.ASGITransport) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=ADDRESS, transport=transport) as client:
        yield client


@pytest.fixture
def custom_vision(http: httpx.AsyncClient, control: SimulationControl) -> CustomVisionClient:
    return CustomVisionClient(http, CREDENTIALS.custom_vision_key)


@pytest.fixture
def face(http: httpx.AsyncClient, control: SimulationControl) -> FaceClient:
    return FaceClient(http, CREDENTIALS.face_key)
