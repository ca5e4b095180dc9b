"""Commands that are killed at random: nothing is sent twice and nothing never; of dead letters, none is lost."""

import base64
import json
import random
import time
from collections import Counter

from ops.resumable_send import WAVE
from tests.integration.ops.conftest import Bench, taken
from tests.integration.ops.test_dead_letters import letter

KILLS = 10
MESSAGES = 700
LETTERS = 400


def test_a_send_that_is_killed_ten_times_sends_each_message_once(bench: Bench) -> None:
    ids = bench.ids(MESSAGES)
    bench.catalogue(ids, sets=MESSAGES)
    rng = random.Random(14)
    for kill in range(KILLS):
        process = bench.start("send", "catalogue.csv")
        there = _count(bench)
        wanted = there + rng.randint(1, 2 * WAVE) if kill else 1
        while _count(bench) < wanted and process.is_alive():
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.02))
        assert process.is_alive(), f"it was too fast to be killed: {bench.stderr}"
        process.kill()
        process.join()
    result = bench.run("send", "catalogue.csv")
    assert result.code == 0, result.err
    assert "resumes the send" in result.err
    sent = [json.loads(base64.b64decode(text)) for text in taken(bench.updates)]
    assert Counter(image for message in sent for image in message["imageIds"]) == Counter(map(str, ids))
    assert _count(bench) <= KILLS * WAVE, "what is left are places that nobody sees"


def test_a_redrive_that_is_killed_ten_times_loses_no_letter(bench: Bench) -> None:
    bodies = [letter(bench, code=f"Code{number}") for number in range(LETTERS)]
    for body in bodies:
        bench.letters.send_message(body, time_to_live=-1)
    rng = random.Random(14)
    for _ in range(KILLS):
        process = bench.start("dead-letters", "redrive", "--yes")
        wanted = _count(bench) + rng.randint(1, 24)
        while _count(bench) < wanted and process.is_alive():
            time.sleep(0.002)
        process.kill()
        process.join()
    result = bench.run("dead-letters", "redrive", "--yes")
    assert result.code == 0, result.err
    assert (bench.letters.get_queue_properties().approximate_message_count or 0) == 0
    moved = Counter(json.loads(text)["failure"]["code"] for text in taken(bench.updates))
    assert set(moved) == {f"Code{number}" for number in range(LETTERS)}
    assert max(moved.values()) <= 2


def _count(bench: Bench) -> int:
    return bench.updates.get_queue_properties().approximate_message_count or 0
