"""What stays the same from run to run of the local cloud: the storage account's key, and the ports.

It stands in a file of the data folder that only its owner may read, so that a terminal, or a `local.settings.json`,
into which it was put goes on working.
"""

from __future__ import annotations

import fcntl
import json
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from local.azurite.server import DEFAULT_QUEUE_PORT, new_key
from local.host.errors import HostStartError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE = "cloud.json"
LOCK = "cloud.lock"
OWNER_ALONE = 0o600


@dataclass(frozen=True)
class Kept:
    """The key of the storage account, and the ports that were last used; no simulation port before its first start."""

    storage_key: str
    storage_port: int = DEFAULT_QUEUE_PORT
    simulation_port: int | None = None


def read(data: Path) -> Kept:
    """What the data folder has, or a new key and the default port.

    Raises HostStartError if its file is not what `write` writes.
    """
    file = data / FILE
    try:
        values = json.loads(file.read_text())
        port = values["simulation_port"]
        return Kept(str(values["storage_key"]), int(values["storage_port"]), None if port is None else int(port))
    except FileNotFoundError:
        return Kept(new_key())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HostStartError(f"{file} cannot be read; delete it, and key and ports are made anew") from error


def write(data: Path, kept: Kept) -> None:
    """Keep it for the next run."""
    file = data / FILE
    file.touch(OWNER_ALONE)
    file.write_text(json.dumps(asdict(kept), indent=2) + "\n")


@contextmanager
def sole_user(data: Path) -> Iterator[None]:
    """Hold the data folder. Raises HostStartError if another run holds it."""
    with (data / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HostStartError(f"another `make run` or `make cloud` uses {data}: stop it first") from None
        yield
