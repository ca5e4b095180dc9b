"""Run the simulation: `python -m local.simulation --port 8000`.

The keys it accepts come from the environment, so that they stand in no list of processes.
"""

import argparse
import asyncio
import os
import sys

from local.simulation.app import create_app
from local.simulation.gateway import Credentials
from local.simulation.process import BEARER_TOKEN_VARIABLE, CUSTOM_VISION_KEY_VARIABLE, FACE_KEY_VARIABLE
from local.simulation.server import serve
from local.simulation.simulation import Simulation


def main() -> None:
    """Serve until SIGTERM, SIGINT, or the end of stdin if asked to heed it."""
    options = _parse_arguments()
    simulation = Simulation(_credentials())
    asyncio.run(
        serve(
            create_app(simulation),
            options.port,
            lambda address: print(address, flush=True),
            until_stdin_ends=options.until_stdin_ends,
        )
    )


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m local.simulation",
        description="A simulated Custom Vision and Face on the loopback interface. Prints its address when ready.",
        epilog=f"Environment: {CUSTOM_VISION_KEY_VARIABLE} and {FACE_KEY_VARIABLE} are the keys it accepts, "
        f"{BEARER_TOKEN_VARIABLE} is a token that both services accept as well, if set.",
    )
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0, the default, is any free one")
    parser.add_argument(
        "--until-stdin-ends", action="store_true", help="stop also when stdin ends, as it does when a parent dies"
    )
    return parser.parse_args()


def _credentials() -> Credentials:
    try:
        return Credentials(
            custom_vision_key=os.environ[CUSTOM_VISION_KEY_VARIABLE],
            face_key=os.environ[FACE_KEY_VARIABLE],
            bearer_token=os.environ.get(BEARER_TOKEN_VARIABLE),
        )
    except KeyError as missing:
        sys.exit(f"the environment variable {missing.args[0]} is not set")


if __name__ == "__main__":
    main()
