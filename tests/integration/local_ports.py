"""A data folder for `make run` with ports of its own: runs of other tests go on meanwhile, and would take the same."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

from local import kept
from local.azurite.server import new_key

if TYPE_CHECKING:
    from pathlib import Path


def own_data(tmp_path: Path) -> Path:
    """Make the folder, unless it is there."""
    data = tmp_path / "data"
    if not data.exists():
        data.mkdir()
        with ExitStack() as held:
            sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
            ports = [one.getsockname()[1] for one in sockets]
        kept.write(data, kept.Kept(new_key(), *ports))
    return data
