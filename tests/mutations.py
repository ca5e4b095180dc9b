"""`python -m tests.mutations`: break the code in random places, and show what the unit tests do not notice.

A mutation is one small change of one file. It is killed if the unit tests that mirror the file fail. It survives if
they pass: then no test states what that place is for, or nothing needs it. The seed decides which mutations are made,
and they are made in copies of the project. Docstrings, log lines and annotations stay as they are.
"""

from __future__ import annotations

import argparse
import ast
import copy
import difflib
import os
import queue
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import DEVNULL
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROJECT = Path(__file__).parents[1]
PATHS = (
    "shared/batching", "shared/limits", "shared/messages", "shared/services", "shared/metadata_updates.py",
    "shared/training_watches.py", "ops/catalogue", "ops/verifying.py",
)  # fmt: skip

PYTEST = (sys.executable, "-m", "pytest", "-qx", "-p", "no:randomly", "-p", "no:cacheprovider")
PROFILE = ("--hypothesis-profile", "mutation")  # see tests/conftest.py

MEMORY = 4 << 30
"""What a run of tests may take, in bytes: a mutation may make a loop endless, and a list in it grows."""

KILLED, SURVIVED, TIMED_OUT, NOT_RUN = OUTCOMES = ("killed", "survived", "timed out", "not run")

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.Pow: ast.Mult,
}  # fmt: skip


class Mutation(NamedTuple):
    """The change `number` of all that `changes` makes in a file."""

    path: str
    line: int
    number: int


def changes(tree: ast.AST) -> Iterator[tuple[Any, Any, ast.AST]]:
    """All changes that can be made below a node: `container[key] = new`."""
    for name, value in ast.iter_fields(tree):
        if _is_left_alone(tree, name):
            continue
        container: Any
        container, keys = (value, range(len(value))) if isinstance(value, list) else (vars(tree), [name])
        for key in keys:
            child = container[key]
            if isinstance(child, ast.AST) and not _is_prose(child):
                replacements = _statements_instead if isinstance(child, ast.stmt) else _expressions_instead
                yield from ((container, key, new) for new in replacements(child))
                yield from changes(child)


def _is_left_alone(node: ast.AST, field: str) -> bool:
    """Whether a field is for the type checker, or says what a log line says. (The line itself may be dropped.)"""
    match node:
        case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
            return field not in ("body", "args")
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="log")))):
            return True
    return field == "annotation"


def _is_prose(node: ast.AST) -> bool:
    match node:
        case ast.Expr(value=ast.Constant()) | ast.Assert() | ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Assign(targets=[ast.Name(id="__slots__" | "__all__")]):
            return True
    return False


def _statements_instead(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Expr() | ast.Raise() | ast.Continue() | ast.Break() | ast.Delete():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript(), *_]):
            yield ast.Pass()
        case ast.AugAssign(op=operator):
            yield ast.Pass()
            yield _with(node, op=ARITHMETIC[type(operator)]())
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
            yield ast.Return(ast.Constant(None))
        case ast.If(test=test) | ast.While(test=test) if not isinstance(test, ast.Compare | ast.UnaryOp):
            yield _with(node, test=ast.UnaryOp(ast.Not(), test))


def _expressions_instead(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(ops=operators):
            for index, operator in enumerate(operators):
                for other in COMPARISONS[type(operator)]:
                    yield _with(node, ops=[*operators[:index], other(), *operators[index + 1 :]])
        case ast.BoolOp(op=connective):
            yield _with(node, op=ast.Or() if isinstance(connective, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.BinOp(op=operation) if type(operation) in ARITHMETIC and not _is_union_of_types(node):
            yield _with(node, op=ARITHMETIC[type(operation)]())
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield ast.IfExp(test, orelse, body)
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield from (ast.Constant(value + 1), ast.Constant(value - 1))


def _is_union_of_types(node: ast.BinOp) -> bool:
    """Whether an operand is None or subscripted, or has a name that begins with a capital letter."""
    names = [ast.unparse(side).rpartition(".")[2] for side in (node.left, node.right)]
    return isinstance(node.op, ast.BitOr) and any(name[0].isupper() or name[-1] == "]" for name in names)


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    vars(changed).update(fields)
    return changed


def all_mutations(project: Path, paths: Sequence[str]) -> list[Mutation]:
    """All mutations of these files, and of the files in these folders."""
    found: list[Mutation] = []
    for path in paths:
        for file in sorted((project / path).rglob("*.py")) or [project / path]:
            name = file.relative_to(project).as_posix()
            every = changes(ast.parse(file.read_text()))
            found += (Mutation(name, container[key].lineno, index) for index, (container, key, _) in enumerate(every))
    return found


def mutated(source: str, number: int) -> str:
    """The source of a file after the change `number` of `changes`, without comments."""
    tree = ast.parse(source)
    container, key, new = list(changes(tree))[number]
    container[key] = new
    return ast.unparse(ast.fix_missing_locations(tree))


def difference(source: str, number: int) -> str:
    """The lines that a mutation changes, before and after."""
    before, after = ast.unparse(ast.parse(source)), mutated(source, number)
    diff = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return "\n".join(f"    {line[0]} {line[1:].strip()}" for line in list(diff)[2:] if line[0] in "+-")


def mirror(project: Path, path: str) -> tuple[str, ...]:
    """The tests of a file, if it has its own, and then those of its folder; of a file in `shared` or `ops`, its own."""
    folder = Path("tests/unit") / Path(path).parent
    own = folder / f"test_{Path(path).stem}.py"
    if folder.name in ("shared", "ops"):
        return (str(own),)
    return (str(own), str(folder)) if (project / own).exists() else (str(folder),)


def outcome_of(mutation: Mutation, copied: Path, tests: Sequence[str], seconds: float) -> str:
    """What these tests say to a mutation; `seconds` bounds how long they take."""
    file = copied / mutation.path
    source, times = file.read_text(), file.stat()
    file.write_text(mutated(source, mutation.number))
    outcome = _run(copied, tests, seconds)
    file.write_text(source)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))  # so that its bytecode is valid again
    return outcome


def seconds_without_mutation(copied: Path, tests: str) -> float:
    """How long these tests take without a mutation. They have to pass. They leave bytecode, which saves a third."""
    began = time.monotonic()
    if _run(copied, [tests], seconds=600, writes_bytecode=True) != SURVIVED:
        raise SystemExit(f"without a mutation, these tests do not pass: {tests}")
    return time.monotonic() - began


def _run(copied: Path, tests: Sequence[str], seconds: float, *, writes_bytecode: bool = False) -> str:
    # Python knows stale bytecode by size and second, and two mutations of a file may have both in common.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "" if writes_bytecode else "1"}
    command = [*PYTEST, *PROFILE, *tests]
    try:
        ended = subprocess.run(
            command, cwd=copied, env=environment, timeout=seconds, check=False, stdout=DEVNULL, stderr=DEVNULL
        )
    except subprocess.TimeoutExpired:
        return TIMED_OUT
    return KILLED if ended.returncode else SURVIVED


def run(
    project: Path, paths: Sequence[str], *, seed: int, count: int, jobs: int, minutes: float, seconds: float | None
) -> dict[Mutation, str]:
    """Make `count` mutations and return what became of each. Those that survived or timed out are printed."""
    end = time.monotonic() + 60 * minutes
    found = all_mutations(project, paths)
    sample = random.Random(seed).sample(found, min(count, len(found)))
    print(f"{len(sample)} of {len(found)} mutations, --seed {seed}", flush=True)
    mirrors = {mutation.path: mirror(project, mutation.path) for mutation in sample}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        left_out = shutil.ignore_patterns(".*", "node_modules", "build", "__pycache__")
        first = shutil.copytree(project, Path(folder) / "0", ignore=left_out)
        taken = {tests: seconds_without_mutation(first, tests) for tests in {tests[-1] for tests in mirrors.values()}}
        free: queue.SimpleQueue[Path] = queue.SimpleQueue()
        free.put(first)
        for number in range(1, jobs):
            free.put(shutil.copytree(first, Path(folder) / str(number)))

        def one(mutation: Mutation) -> str:
            if time.monotonic() > end:
                return NOT_RUN
            tests = mirrors[mutation.path]
            copied = free.get()
            outcome = outcome_of(mutation, copied, tests, seconds or 75 + 4 * taken[tests[-1]])
            if outcome != KILLED:
                diff = difference((copied / mutation.path).read_text(), mutation.number)
                print(f"{mutation.path}:{mutation.line} {outcome}\n{diff}", flush=True)
            free.put(copied)
            return outcome

        return dict(zip(sample, pool.map(one, sample), strict=True))


def table(outcomes: dict[Mutation, str], paths: Sequence[str]) -> str:
    """The number of mutations with each outcome, by path."""
    rows = {
        path: Counter(what for mutation, what in outcomes.items() if mutation.path.startswith(path)) for path in paths
    }
    rows["all"] = Counter(outcomes.values())
    lines = ["".join(f"{name:>10}" for name in ("made", *OUTCOMES)).rjust(80)]
    for path, row in rows.items():
        lines.append(
            f"{path:30}" + "".join(f"{count:10}" for count in (row.total(), *(row[name] for name in OUTCOMES)))
        )
    made = rows["all"].total() - rows["all"][NOT_RUN]
    return "\n".join([*lines, f"{rows['all'][KILLED] / max(1, made):.1%} killed"])


def main() -> None:
    """Make the mutations that the arguments ask for, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description="Break the code in random places.")
    parser.add_argument("paths", nargs="*", default=PATHS, help="files and folders")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="the same seed, the same mutations")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--minutes", type=float, default=30, help="no mutation begins after these (default: 30)")
    parser.add_argument("--seconds", type=float, help="of a mutation (default: 75, and 4 times what its tests take)")
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    print(table(run(PROJECT, **vars(arguments)), arguments.paths))


if __name__ == "__main__":
    main()
