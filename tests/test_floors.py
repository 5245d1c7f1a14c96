"""The house stands: every room imports only from floors below it, and no file outgrows one concept.

`FLOORS` is the plan. A new wing is one entry in it. Imports inside functions count, because they run too.
"""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "blipvqa"
LONGEST_FILE = 300  # lines
FLOORS = {
    "errors": 0,  # below the config, which raises them
    "config": 1,
    "text": 1,
    "plural": 1,
    "hub": 1,
    "bars": 1,
    "numbers": 2,
    "runs": 2,
    "models": 2,
    "data": 3,
    "training": 4,
    "pages": 4,
    "vqa": 5,
    "captions": 5,
    "retrieval": 5,
    "pairs": 5,
    "pretraining": 6,  # retrieval's task with another model: no copy of its wing
    "tasks": 7,
    "bootstrapping": 8,
    "continual": 8,
    "ensemble": 8,
    "sweep": 8,
    "board": 8,
    "comparison": 8,
    "transfer": 8,
    "arguments": 8,
    "first_look": 8,
    "workflow": 8,
    "sharing": 8,
    "page": 8,
    "__init__": 9,
    "several_runs": 9,
    "__main__": 10,
}
# What still breaks the plan. An entry that no longer holds fails the test, so this set can only shrink.
KNOWN: set[str] = set()


def room_of(module: list[str]) -> str:
    """The room or single file in which a module lies: `["vqa", "scores"]` gives `vqa`, the package itself `__init__`."""
    return module[0] if module else "__init__"


def imported_modules(path: Path, package: Path) -> Iterator[list[str]]:
    """The modules of this package that a file imports, anywhere in it, as names below the package."""
    here = [package.name, *path.relative_to(package).with_suffix("").parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[list[str]] = []
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = (here[: -node.level] if node.level else []) + (node.module or "").split(".")
            names = [[*filter(None, base), alias.name] for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
            names = [a.value.split(".") for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        for first, *below in names:
            if first == package.name:
                # `from blipvqa import Run` imports the package's face, `from blipvqa import vqa` a room
                yield below if len(below) != 1 or below[0] in FLOORS else []


def misplaced_imports(package: Path) -> set[str]:
    """Imports that go upwards, or to another room of the same floor."""
    wrong = set()
    for path in package.rglob("*.py"):
        inner = path.relative_to(package).with_suffix("").parts
        room = room_of(list(inner))
        if room not in FLOORS:
            wrong.add(f"{path.relative_to(package)} has no floor: add {room!r} to FLOORS")
            continue
        for module in imported_modules(path, package):
            target = room_of(module)
            if target == room or FLOORS.get(target, 0) < FLOORS[room]:
                continue
            way = "upwards" if FLOORS[target] > FLOORS[room] else "across its floor"
            wrong.add(f"{path.relative_to(package).as_posix()} imports {way} from {target}")
    return wrong


def incomplete_faces(package: Path) -> dict[str, list[str]]:
    """Rooms whose `__init__.py` is not just a docstring that lists every file, with the files left out or long gone."""
    wrong = {}
    for face in package.glob("*/__init__.py"):
        tree = ast.parse(face.read_text(encoding="utf-8"))
        docstring = ast.get_docstring(tree) or ""
        files = {path.stem for path in face.parent.glob("*.py") if path != face}
        difference = sorted(files ^ set(re.findall(r"`([a-z_0-9]+)`", docstring)))
        if difference or len(tree.body) != 1 or not docstring:
            wrong[f"{face.parent.name}/__init__.py is not a docstring that lists every file"] = difference
    return wrong


def tracked_files() -> list[Path]:
    """The files that git knows in this checkout."""
    listing = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("needs git and a checkout, to know which files are tracked")
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_the_rules_of_the_house_hold_but_for_what_is_listed():
    faces = incomplete_faces(PACKAGE)
    long_files = {
        f"{path.relative_to(ROOT).as_posix()} is longer than {LONGEST_FILE} lines"
        for folder in ("src", "tests", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if len(path.read_text(encoding="utf-8").splitlines()) > LONGEST_FILE
    }
    wrong = misplaced_imports(PACKAGE) | set(faces) | long_files
    assert {broken: faces.get(broken) for broken in sorted(wrong - KNOWN)} == {}
    assert sorted(KNOWN - wrong) == [], "these are mended: take them out of KNOWN"


def test_no_line_is_kept_from_the_formatter():
    marker = "fmt: " + "skip"  # in two parts, or this file would be in the list
    unformatted = [
        path.relative_to(ROOT).as_posix() for path in tracked_files() if marker.encode() in path.read_bytes()
    ]
    assert unformatted == []


@pytest.mark.parametrize(
    ("file", "line", "complaint"),
    [
        ("pages/tables.py", "from blipvqa.vqa.measures import MEASURES", "imports upwards from vqa"),
        ("pages/tables.py", "def late():\n    from blipvqa.vqa import measures", "imports upwards from vqa"),
        ("pages/tables.py", "from ..vqa.measures import MEASURES", "imports upwards from vqa"),
        ("pages/tables.py", "from blipvqa import Run", "imports upwards from __init__"),
        ("pages/tables.py", "import importlib\nimportlib.import_module('blipvqa.vqa')", "imports upwards from vqa"),
        ("captions/scores.py", "from blipvqa.vqa.scores import score", "imports across its floor from vqa"),
        ("captions/scores.py", "import blipvqa.retrieval.scores", "imports across its floor from retrieval"),
        ("attic.py", "import os", "has no floor: add 'attic' to FLOORS"),
    ],
)
def test_a_planted_import_is_seen(tmp_path, file, line, complaint):
    path = tmp_path / "blipvqa" / file
    path.parent.mkdir(parents=True)
    path.write_text(line + "\n")
    assert misplaced_imports(tmp_path / "blipvqa") == {f"{file} {complaint}"}


def test_imports_from_below_are_let_through(tmp_path):
    package = tmp_path / "blipvqa"
    (package / "captions").mkdir(parents=True)
    lines = [
        "from blipvqa.numbers import bootstrap",
        "from blipvqa.text import words",
        "from . import batches",
        "import os",
    ]
    (package / "captions" / "scores.py").write_text("\n".join(lines) + "\n")
    assert misplaced_imports(package) == set()


def test_a_docstring_that_lists_other_files_than_the_room_holds_is_seen(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "__init__.py").write_text('"""Run folders: `lock` (one process), `moved_away` (no more)."""\n')
    for name in ("lock", "unlisted"):
        (tmp_path / "runs" / f"{name}.py").write_text("")
    assert list(incomplete_faces(tmp_path).values()) == [["moved_away", "unlisted"]]
