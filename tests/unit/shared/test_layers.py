"""The layers: batching and limits can be lifted out, and read and run without the rest."""

import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[3]

LIFTED = ("batching", "limits", "errors.py", "text.py", "redaction.py")

USE = """
import asyncio
from shared.batching.batcher import Batcher
from shared.batching.outcome_types import APPLIED
from shared.limits.admission import Admission
from shared.limits.local_pacing import EvenSpacing

async def send(key, ids):
    return dict.fromkeys(ids, APPLIED)

async def main():
    admission = Admission("API", EvenSpacing(1000.0))
    batcher = Batcher(send, admission, scope_of=lambda _: None, batch_size=64, linger_seconds=0.01,
                      max_wait_seconds=10, starvation_seconds=1, max_in_flight=4)
    assert not any(await asyncio.gather(*(batcher.submit("key", [str(n)]) for n in range(100))))

asyncio.run(main())
print("lifted")
"""


def test_batching_and_limits_work_where_nothing_else_is_there(tmp_path: Path) -> None:
    """As `cp -r shared/{batching,limits,errors.py,text.py,redaction.py}` to another project has them."""
    shared = tmp_path / "shared"
    shared.mkdir()
    for name in LIFTED:
        source = PROJECT / "shared" / name
        if source.is_dir():
            shutil.copytree(source, shared / name)
        else:
            shutil.copy(source, shared / name)
    isolated = [sys.executable, "-S", "-E", "-c", USE]  # -S: no site-packages
    ended = subprocess.run(isolated, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.stdout, ended.stderr) == ("lifted\n", "")
