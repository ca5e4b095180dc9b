"""`vision-relay verify`: the service itself is asked, and what is not there is told apart by what is known of it."""

import json
import time

from local.simulation.models import Api, Fault, FaultKind
from tests.integration.ops.conftest import Bench, Control
from tests.integration.ops.test_dead_letters import letter

COLLECTION = {"collection": "Collection 0"}


def test_it_is_well_only_if_every_image_has_its_pairs(bench: Bench, control: Control) -> None:
    ids = bench.ids(600)
    control.add_images(bench.project_id, ids, {**COLLECTION, "besides": "no matter"})
    bench.catalogue(ids)
    result = bench.run("verify", "catalogue.csv", "--json")
    assert result.code == 0, result.err
    assert (result.json["images"], result.json["applied"], result.json["deviations"]) == (600, 600, [])


def test_what_is_missing_or_different_is_listed_with_its_line(bench: Bench, control: Control) -> None:
    right, different, bare, missing = bench.ids(4)
    control.add_images(bench.project_id, [right], COLLECTION)
    control.add_images(bench.project_id, [different], {"collection": "another"})
    control.add_images(bench.project_id, [bare])
    bench.catalogue([right, different, bare, missing])
    result = bench.run("verify", "catalogue.csv")
    assert result.code == 1
    assert f"catalogue.csv:3: {different} not under way: collection is 'another', not 'Collection 0'" in result.out
    assert f"catalogue.csv:4: {bare} not under way: collection is missing" in result.out
    assert f"catalogue.csv:5: {missing} not under way: no such image" in result.out
    assert "send catalogue.csv --again" in result.err


def test_a_dead_letter_says_why(bench: Bench, control: Control) -> None:
    [image] = bench.ids(1)
    control.add_images(bench.project_id)
    bench.catalogue([image])
    bench.letters.send_message(letter(bench, imageIds=[str(image)], metadata=COLLECTION), time_to_live=-1)
    result = bench.run("verify", "catalogue.csv")
    assert result.code == 1
    assert f"catalogue.csv:2: {image} dead letter: ErrorImageNotFound" in result.out
    assert "dead-letters redrive" in result.err


def test_a_letter_about_other_metadata_is_no_reason(bench: Bench, control: Control) -> None:
    [image] = bench.ids(1)
    control.add_images(bench.project_id)
    bench.catalogue([image])
    bench.letters.send_message(letter(bench, imageIds=[str(image)], metadata={"older": "row"}), time_to_live=-1)
    assert bench.run("verify", "catalogue.csv", "--json").json["states"]["not under way"] == 1


def test_while_the_queue_has_messages_an_image_may_still_come(bench: Bench, control: Control) -> None:
    control.add_images(bench.project_id)
    bench.catalogue(bench.ids(1))
    assert bench.run("send", "catalogue.csv").code == 0
    assert bench.run("verify", "catalogue.csv", "--json").json["states"]["queued"] == 1


def test_waiting_ends_when_all_is_applied(bench: Bench, control: Control) -> None:
    ids = bench.ids(3)
    bench.catalogue(ids)
    assert bench.run("send", "catalogue.csv").code == 0
    process = bench.start("verify", "catalogue.csv", "--wait")
    process.join(2)
    assert process.is_alive(), bench.stderr
    control.add_images(bench.project_id, ids, COLLECTION)
    message = bench.updates.receive_message()
    assert message is not None
    bench.updates.delete_message(message)
    process.join(20)
    assert process.exitcode == 0, bench.stderr


def test_waiting_ends_with_its_time(bench: Bench, control: Control) -> None:
    control.add_images(bench.project_id)
    bench.catalogue(bench.ids(1))
    assert bench.run("send", "catalogue.csv").code == 0
    result = bench.run("verify", "catalogue.csv", "--wait", "--timeout", "1s", "--json")
    assert result.code == 1
    assert result.json["timedOut"] is True


def test_rows_that_cannot_be_sent_are_not_there_either(bench: Bench, control: Control) -> None:
    [image] = bench.ids(1)
    control.add_images(bench.project_id, [image], COLLECTION)
    path = bench.catalogue([image])
    path.write_text(path.read_text() + f"broken,{bench.project_id},Collection 0\n")
    result = bench.run("verify", "catalogue.csv")
    assert result.code == 1
    assert "catalogue.csv:3: image_id: must be a UUID" in result.err
    assert "mend the rows that cannot be sent, then: vision-relay send catalogue.csv" in result.err


def test_trouble_that_passes_is_waited_out(bench: Bench, control: Control) -> None:
    ids = bench.ids(300)
    control.add_images(bench.project_id, ids, COLLECTION)
    control.set_faults(
        Api.CUSTOM_VISION,
        Fault(kind=FaultKind.TOO_MANY_REQUESTS, times=1),
        Fault(kind=FaultKind.CONNECTION_RESET, times=1),
        Fault(kind=FaultKind.NOT_JSON, times=1),
    )
    bench.catalogue(ids)
    assert bench.run("verify", "catalogue.csv").code == 0


def test_calls_keep_within_the_rate(bench: Bench, control: Control) -> None:
    ids = bench.ids(256 * 4)
    control.add_images(bench.project_id, ids, COLLECTION)
    bench.catalogue(ids)
    began = time.monotonic()
    assert bench.run("verify", "catalogue.csv", "--calls-per-second", "4").code == 0
    assert time.monotonic() - began >= 3 / 4


def test_a_wrong_key_names_the_setting_and_is_not_shown(bench: Bench) -> None:
    bench.catalogue(bench.ids(1))
    result = bench.run("verify", "catalogue.csv", environment={"CUSTOM_VISION_TRAINING_KEY": "not-the-key"})
    assert result.code == 3
    assert "CUSTOM_VISION_TRAINING_KEY" in result.err
    assert "not-the-key" not in result.err


def test_a_project_that_does_not_exist_has_no_images(bench: Bench) -> None:
    [image] = bench.ids(1)
    bench.catalogue([image])
    [deviation] = bench.run("verify", "catalogue.csv", "--json").json["deviations"]
    assert deviation["imageId"] == str(image)
    assert deviation["found"] is None
    assert json.dumps(deviation)


def test_reads_take_part_in_the_limit_that_instances_share(bench: Bench, control: Control) -> None:
    ids = bench.ids(256 * 20)
    control.add_images(bench.project_id, ids, COLLECTION)
    control.set_rate(Api.CUSTOM_VISION, 10)
    before = control.counters().custom_vision
    bench.catalogue(ids)
    assert bench.run("verify", "catalogue.csv", environment={"CUSTOM_VISION_CALLS_PER_SECOND": "10"}).code == 0
    after = control.counters().custom_vision
    assert after.calls - before.calls == 20
    assert after.rate_limited == before.rate_limited
    permits = bench.queue("PERMITS_QUEUE")
    assert permits.get_queue_properties().approximate_message_count == 10
    permits.close()
