"""What is broken off in other ways than by a kill: Ctrl-C, storage that goes away, and a week that passes."""

import asyncio
import base64
import json
import os
import re
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from local.chaos.tcp_proxy import Relay
from tests.integration.ops.conftest import Bench, taken

MESSAGES = 200
CUTS = 4


def images(bench: Bench) -> Counter[str]:
    texts = taken(bench.updates)
    return Counter(image for text in texts for image in json.loads(base64.b64decode(text))["imageIds"])


def once_each(ids: list[UUID]) -> Counter[str]:
    return Counter(map(str, ids))


def count(bench: Bench) -> int:
    return bench.updates.get_queue_properties().approximate_message_count or 0


def journal(bench: Bench) -> sqlite3.Connection:
    [path] = (bench.folder / "state").glob("*.journal")
    return sqlite3.connect(path, isolation_level=None)


def test_ctrl_c_leaves_nothing_half_done_and_the_next_run_goes_on(bench: Bench) -> None:
    ids = bench.ids(MESSAGES)
    bench.catalogue(ids, sets=MESSAGES)
    process = bench.start("send", "catalogue.csv")
    while count(bench) < 40 and process.is_alive():
        time.sleep(0.002)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
    process.join(20)
    assert process.exitcode == 130, bench.stderr
    assert "type the same again, and it resumes" in bench.stderr
    before = images(bench)
    assert 0 < before.total() < MESSAGES
    assert count(bench) == 0, "no place is left behind"
    assert bench.run("send", "catalogue.csv").code == 0
    assert before + images(bench) == once_each(ids)


@contextmanager
def cut_again_and_again(port: int) -> Iterator[int]:
    """A way to storage on which every connection is reset a few times; yields its port."""
    loop = asyncio.new_event_loop()
    relay = Relay(port)

    async def cut() -> None:
        async with relay:
            opened.set()
            for _ in range(CUTS):
                await asyncio.sleep(0.3)
                async with relay.cut():
                    await asyncio.sleep(0.01)
            while not over.is_set():
                await asyncio.sleep(0.05)

    opened, over = threading.Event(), threading.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(cut(),))
    thread.start()
    opened.wait(10)
    try:
        yield relay.port
    finally:
        over.set()
        thread.join(10)
        loop.close()
    assert relay.resets > 0


def test_answers_that_get_lost_lose_no_message_and_double_none(bench: Bench) -> None:
    ids = bench.ids(MESSAGES)
    bench.catalogue(ids, sets=MESSAGES)
    [port] = re.findall(r"127\.0\.0\.1:(\d+)/", bench.settings["AzureWebJobsStorage"])
    with cut_again_and_again(int(port)) as other:
        through = bench.settings["AzureWebJobsStorage"].replace(f":{port}/", f":{other}/")
        codes: list[int] = []
        while not codes or (codes[-1] == 4 and len(codes) < 20):
            codes.append(bench.run("send", "catalogue.csv", environment={"AzureWebJobsStorage": through}).code)
    assert codes[-1] == 0
    assert images(bench) == once_each(ids)


def test_a_queue_that_goes_away_meanwhile_ends_it_with_what_to_do(bench: Bench) -> None:
    ids = bench.ids(MESSAGES)
    bench.catalogue(ids, sets=MESSAGES)
    process = bench.start("send", "catalogue.csv")
    while count(bench) < 40 and process.is_alive():
        time.sleep(0.002)
    bench.updates.delete_queue()
    process.join(30)
    assert process.exitcode == 4, bench.stderr
    assert "QueueNotFound" in bench.stderr
    assert "type the same again" in bench.stderr


def test_after_more_than_a_week_it_says_what_is_there_twice_at_most(bench: Bench) -> None:
    ids = bench.ids(MESSAGES)
    bench.catalogue(ids, sets=MESSAGES)
    process = bench.start("send", "catalogue.csv")
    while count(bench) < 70 and process.is_alive():
        time.sleep(0.002)
    process.kill()
    process.join()
    with journal(bench) as state:
        state.execute("UPDATE messages SET reserved_at = 0")
    state.close()
    result = bench.run("send", "catalogue.csv", "--json")
    assert result.code == 0, result.err
    found = images(bench)
    assert found.keys() == once_each(ids).keys()
    assert (found - once_each(ids)).total() <= result.json["messagesPerhapsTwice"] <= 32
    assert ("may be there twice" in result.err) is (result.json["messagesPerhapsTwice"] > 0)


def test_a_send_that_runs_is_not_run_twice(bench: Bench) -> None:
    bench.catalogue(bench.ids(MESSAGES), sets=MESSAGES)
    process = bench.start("send", "catalogue.csv")
    while count(bench) < 10 and process.is_alive():
        time.sleep(0.002)
    second = bench.run("send", "catalogue.csv")
    process.join(30)
    assert process.exitcode == 0, bench.stderr
    assert (second.code, "another process" in second.err) in ((1, True), (0, False))
    assert images(bench).total() == MESSAGES
