"""Run the simulation: `python -m local.simulation --port 8000`.

The keys it accepts come from the environment, so that they stand in no list of processes.
"""

import argparse
import asyncio
import os
import sys

from local.simulation.app import create_app
from local.simulation.gateway import Credentials
from local.simulation.process import (
    BEARER_TOKEN_VARIABLE,
    CUSTOM_VISION_KEY_VARIABLE,
    EVENT_GRID_KEY_VARIABLE,
    FACE_KEY_VARIABLE,
    IDENTITY_HEADER_VARIABLE,
)
from local.simulation.server import serve
from local.simulation.simulation import Simulation

MAX_PORT = 65535
MADE_IF_NOT_SET = {"event_grid_key": EVENT_GRID_KEY_VARIABLE, "identity_header": IDENTITY_HEADER_VARIABLE}


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    port = _parse_arguments().port
    app = create_app(Simulation(_credentials()))
    try:
        asyncio.run(serve(app, port, lambda address: print(address, flush=True)))
    except OSError as error:
        sys.exit(f"cannot listen on port {port}: {error.strerror}")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m local.simulation",
        description="A simulated Custom Vision, Face, Event Grid topic and App Service token endpoint on the loopback "
        "interface. Prints its address when ready.",
        epilog=f"Environment: {CUSTOM_VISION_KEY_VARIABLE}, {FACE_KEY_VARIABLE} and {EVENT_GRID_KEY_VARIABLE} are the "
        f"keys it accepts, {IDENTITY_HEADER_VARIABLE} is what the app shows for a token, {BEARER_TOKEN_VARIABLE} is a "
        "token that all services accept as well, if set.",
    )
    parser.add_argument("--port", type=_port, default=0, help="port to listen on; 0, the default, takes a free one")
    return parser.parse_args()


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= MAX_PORT:
        raise ValueError(text)
    return port


def _credentials() -> Credentials:
    try:
        return Credentials(
            custom_vision_key=os.environ[CUSTOM_VISION_KEY_VARIABLE],
            face_key=os.environ[FACE_KEY_VARIABLE],
            bearer_token=os.environ.get(BEARER_TOKEN_VARIABLE),
            **{field: os.environ[name] for field, name in MADE_IF_NOT_SET.items() if name in os.environ},
        )
    except KeyError as missing:
        sys.exit(f"the environment variable {missing.args[0]} is not set")


if __name__ == "__main__":
    main()
