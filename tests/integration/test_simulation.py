"""The simulation as a process: broken connections, which need real ones, and its start and end."""

import asyncio
import os
import re
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from local.child_process import ChildFailedError, ChildProcess
from local.simulation.control import ControlError, SimulationControl
from local.simulation.models import Api, Fault, FaultKind
from local.simulation.process import CUSTOM_VISION_KEY_VARIABLE, FACE_KEY_VARIABLE, SimulationProcess
from local.simulation.simulation import steady_clock

PROJECT = uuid4()
ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "local.simulation"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def simulation() -> AsyncIterator[SimulationProcess]:
    async with SimulationProcess() as process:
        yield process


@pytest.fixture
async def control(simulation: SimulationProcess) -> AsyncIterator[SimulationControl]:
    async with simulation.control() as control:
        await control.reset()
        yield control


@pytest.fixture
async def client(simulation: SimulationProcess) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Training-key": simulation.credentials.custom_vision_key}
    async with httpx.AsyncClient(base_url=simulation.address, headers=headers, trust_env=False) as client:
        yield client


async def first_call(control: SimulationControl) -> None:
    """Wait until the simulation has been called."""
    while not (await control.counters()).custom_vision.calls:
        await asyncio.sleep(0.01)


async def update_one(client: httpx.AsyncClient, control: SimulationControl, timeout_seconds: float = 5) -> int:
    """Ask for an update of one image; return the status."""
    path = f"/customvision/v3.3/Training/projects/{PROJECT}/images/metadata"
    image = uuid4()
    await control.add_images(PROJECT, [image])
    response = await client.post(path, params={"imageIds": str(image)}, json={"k": "v"}, timeout=timeout_seconds)
    return response.status_code


@pytest.mark.parametrize(
    ("kind", "error", "applied"),
    [
        (FaultKind.CONNECTION_RESET, httpx.ReadError, 0),
        (FaultKind.CONNECTION_CLOSED, httpx.RemoteProtocolError, 1),
        (FaultKind.ANSWER_CUT_OFF, httpx.RemoteProtocolError, 1),
    ],
)
async def test_a_connection_breaks(
    client: httpx.AsyncClient, control: SimulationControl, kind: FaultKind, error: type[Exception], applied: int
) -> None:
    await control.set_faults(Api.CUSTOM_VISION, Fault(kind=kind, times=1))
    with pytest.raises(error):
        await update_one(client, control)
    counters = await control.counters()
    assert counters.custom_vision.faults == {kind: 1}
    assert counters.custom_vision.statuses == {"none": 1}
    assert counters.images_updated == applied
    assert await update_one(client, control) == 200


async def test_a_call_hangs_until_the_client_gives_up_and_takes_effect(
    client: httpx.AsyncClient, control: SimulationControl
) -> None:
    await control.set_faults(Api.CUSTOM_VISION, Fault(kind=FaultKind.HANG, times=1))
    with pytest.raises(httpx.ReadTimeout):
        await update_one(client, control, timeout_seconds=0.1)
    counters = await control.counters()
    assert counters.custom_vision.faults == {"hang": 1}
    assert counters.images_updated == 1


async def test_a_call_that_has_hung_for_its_time_is_broken_off(
    client: httpx.AsyncClient, control: SimulationControl
) -> None:
    await control.set_faults(Api.CUSTOM_VISION, Fault(kind=FaultKind.HANG, times=1, hang_seconds=0.05))
    with pytest.raises(httpx.RemoteProtocolError):
        await update_one(client, control)


async def test_an_outage_resets_every_connection(client: httpx.AsyncClient, control: SimulationControl) -> None:
    async with control.outage(Api.CUSTOM_VISION):
        for _ in range(3):
            with pytest.raises(httpx.ReadError):
                await update_one(client, control)
    assert await update_one(client, control) == 200
    assert (await control.counters()).custom_vision.faults == {"outage": 3}


async def test_answers_are_not_held_back(client: httpx.AsyncClient, control: SimulationControl) -> None:
    """A second small write must not wait for the client's acknowledgement of the first (some 40 ms)."""
    await control.set_rate(Api.CUSTOM_VISION, None)
    started = time.monotonic()
    for _ in range(20):
        await update_one(client, control)
    assert time.monotonic() - started < 20 * 0.04


async def test_it_ends_at_once_though_a_call_hangs() -> None:
    async with SimulationProcess() as simulation, simulation.control() as control:
        await control.set_faults(Api.CUSTOM_VISION, Fault(kind=FaultKind.HANG))
        headers = {"Training-key": simulation.credentials.custom_vision_key}
        async with httpx.AsyncClient(base_url=simulation.address, headers=headers, trust_env=False) as client:
            hanging = asyncio.create_task(update_one(client, control))
            async with asyncio.timeout(5):
                await first_call(control)
                await simulation.stop()
                with pytest.raises(httpx.HTTPError):
                    await hanging
        with pytest.raises(ControlError):
            await control.counters()


@pytest.mark.parametrize("how", ["stop", "interrupt"])
async def test_a_signal_ends_it_gracefully(tmp_path: Path, how: str) -> None:
    env = os.environ | {CUSTOM_VISION_KEY_VARIABLE: "one-secret", FACE_KEY_VARIABLE: "another-secret"}
    output = tmp_path / "output"
    process = ChildProcess("simulation", COMMAND, env=env, cwd=ROOT, output=output)
    await process.start(re.compile(r"http://127\.0\.0\.1:\d+\n"), timeout_seconds=15)
    assert await (process.stop(5) if how == "stop" else process.interrupt(5)) == 0
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+\n", output.read_text())


async def test_it_does_not_start_without_its_keys(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name != FACE_KEY_VARIABLE}
    env[CUSTOM_VISION_KEY_VARIABLE] = "secret"
    process = ChildProcess("simulation", COMMAND, env=env, cwd=ROOT, output=tmp_path / "output")
    with pytest.raises(ChildFailedError, match=FACE_KEY_VARIABLE):
        await process.start(re.compile("http://"), timeout_seconds=15)


async def test_a_taken_port_is_told(simulation: SimulationProcess) -> None:
    port = int(simulation.address.rpartition(":")[2])
    other = SimulationProcess(port=port)
    with pytest.raises(ChildFailedError, match=f"cannot listen on port {port}"):
        await other.start()
    with pytest.raises(RuntimeError, match="not started"):
        _ = other.address


def test_credentials_are_not_shown() -> None:
    assert SimulationProcess().credentials.face_key not in repr(SimulationProcess().credentials)


def test_the_clock_tells_the_time_of_day() -> None:
    assert steady_clock()() == pytest.approx(time.time(), abs=5)
