"""The tool that breaks the code: it finds what no test states, bounds what hangs, and leaves the project as it is."""

import ast
from pathlib import Path

import pytest

from tests.mutations import KILLED, NOT_RUN, SURVIVED, TIMED_OUT, all_mutations, mirror, mutated, run, table

FILES = {
    "tests/conftest.py": "from hypothesis import settings\nsettings.register_profile('mutation')\n",
    "tests/unit/shared/limits/test_all.py": """
from shared.limits.doors import name_of, number_of
from shared.limits.waiting import wait

def test_a_door_has_its_number():
    assert number_of(3) == 3

def test_it_has_a_name_too():
    name_of("red")

def test_no_wait_is_without_end():
    wait()
""",
    "shared/limits/doors.py": """
def number_of(door: int) -> int:
    return door

def name_of(door: str) -> str:
    return door
""",
    "shared/limits/waiting.py": """
from itertools import count

def wait() -> None:
    for _ in count():
        break
""",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def test_what_a_test_states_is_killed_and_what_none_states_survives(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = ["shared/limits/doors.py"]
    outcomes = run(project, paths, seed=1, count=100, jobs=2, minutes=10, seconds=None)
    assert {mutation.line: outcome for mutation, outcome in outcomes.items()} == {3: KILLED, 6: SURVIVED}
    assert "doors.py:6 survived\n    - return door\n    + return None\n" in capsys.readouterr().out
    assert table(outcomes, paths).splitlines()[-2:] == [
        f"{'all':30}" + "".join(f"{count:10}" for count in (2, 1, 1, 0, 0)),
        "50.0% killed",
    ]
    assert all((project / name).read_text() == text for name, text in FILES.items())


def test_a_loop_without_end_is_stopped(project: Path) -> None:
    outcomes = run(project, ["shared/limits/waiting.py"], seed=1, count=100, jobs=1, minutes=10, seconds=2)
    assert list(outcomes.values()) == [TIMED_OUT]


def test_tests_that_fail_anyway_are_not_taken_for_a_kill(project: Path) -> None:
    (project / "tests/unit/shared/limits/test_other.py").write_text("def test_it():\n    assert False\n")
    with pytest.raises(SystemExit, match="without a mutation, these tests do not pass"):
        run(project, ["shared/limits"], seed=1, count=1, jobs=1, minutes=1, seconds=None)


def test_a_seed_makes_the_same_mutations_and_none_begins_after_the_time(project: Path) -> None:
    first, second = (run(project, ["shared"], seed=7, count=2, jobs=1, minutes=0, seconds=None) for _ in range(2))
    assert list(first) == list(second)
    assert list(first.values()) == [NOT_RUN, NOT_RUN]


def test_the_tests_of_a_file_are_its_own_and_those_of_its_folder(project: Path) -> None:
    limits = "tests/unit/shared/limits"
    (project / limits / "test_doors.py").touch()
    assert mirror(project, "shared/limits/doors.py") == (f"{limits}/test_doors.py", limits)
    assert mirror(project, "shared/limits/waiting.py") == (limits,)
    assert mirror(project, "ops/verifying.py") == ("tests/unit/ops/test_verifying.py",)


SOURCE = """
LIMIT: int = 3

def may_enter(count: int | None) -> bool:
    '''Whether there is room.'''
    log.info('asked for %d of %d', count, 3)
    return count is not None and count < LIMIT
"""


def test_every_kind_of_change_is_made_and_what_is_read_stays(tmp_path: Path) -> None:
    (tmp_path / "door.py").write_text(SOURCE)
    changed = [mutated(SOURCE, mutation.number).splitlines() for mutation in all_mutations(tmp_path, ["door.py"])]
    whole = ast.unparse(ast.parse(SOURCE)).splitlines()
    assert [text for lines in changed for text in lines if text not in whole] == [
        "LIMIT: int = 4",
        "LIMIT: int = 2",
        "    pass",
        "    return None",
        "    return count is not None or count < LIMIT",
        "    return count is None and count < LIMIT",
        "    return count is not None and count <= LIMIT",
        "    return count is not None and count >= LIMIT",
    ]
