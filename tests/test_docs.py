"""What the papers of this house say is so: their sections, files, commands and versions exist."""

import re
from pathlib import Path

import pytest
from test_floors import FLOORS, PACKAGE, ROOT, tracked_files

FACTS = (ROOT / "docs" / "facts.md").read_text(encoding="utf-8")
TEXTS = {".py", ".md", ".yaml", ".yml", ".toml", ".txt", ".ipynb", ".cff"}


@pytest.fixture(scope="module")
def texts() -> dict[Path, str]:
    """Every tracked text with its content."""
    return {path: path.read_text(encoding="utf-8") for path in tracked_files() if path.suffix in TEXTS}


def test_every_fact_that_is_pointed_to_is_there(texts):
    facts = set(re.findall(r"^(?:## |- \*\*)(\d+(?:\.\d+)?)", FACTS, re.M))
    pointers = {
        (path.relative_to(ROOT).as_posix(), number)
        for path, text in texts.items()
        for numbers in re.findall(r"facts\.md((?:,? \d+\.\d+)+)", text)
        for number in re.findall(r"\d+\.\d+", numbers)
    }
    assert len(pointers) > 15
    assert sorted((file, number) for file, number in pointers if number not in facts) == []
    outside = re.compile("FACTS" + r"(_BLIP)? \d")
    assert [path.relative_to(ROOT).as_posix() for path, text in texts.items() if outside.search(text)] == []


def test_facts_point_to_facts():
    """Numbers in brackets inside the page, as in (13.4), are sections of it."""
    facts = set(re.findall(r"^- \*\*(\d+\.\d+)", FACTS, re.M))
    assert {number for number in re.findall(r"\((\d+\.\d+)\)", FACTS) if number not in facts} == set()


def test_links_between_pages_lead_somewhere(texts):
    broken = [
        (path.relative_to(ROOT).as_posix(), target)
        for path, text in texts.items()
        if path.suffix == ".md"
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
        if "://" not in target and not (path.parent / target).exists()
    ]
    assert broken == []


def test_files_that_pages_name_are_there(texts):
    """A file with its folder, from the top or from within (`vqa/scores.py`): a moved one would leave the page behind."""
    tracked = [f"/{path.relative_to(ROOT).as_posix()}" for path in tracked_files()]
    named = re.compile(r"(?<![\w/.<>-])((?:[\w-]+/)+[\w-]+\.(?:py|yaml|ipynb|sh|json|txt))\b")
    gone = [
        (path.relative_to(ROOT).as_posix(), file)
        for path, text in texts.items()
        if path.suffix == ".md" and path.name != "CHANGELOG.md"
        for file in named.findall(text)
        if not any(each.endswith(f"/{file}") for each in tracked)
    ]
    assert gone == []


def test_no_path_of_one_machine_is_committed(texts):
    private = re.compile(r"(?<![\w.])/(home|Users|root|work)/\w|[A-Z]:\\\\?Users\\")
    assert [path.relative_to(ROOT).as_posix() for path, text in texts.items() if private.search(text)] == []


def test_the_six_files_of_the_readme_are_there():
    """The reading order names six files of the package, each by its place below `src/blipvqa`."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## VQA in six files")[1].split("\n## ")[0]
    named = re.findall(r"^\d\. \[`([\w/.]+)`\]\(src/blipvqa/([\w/.]+)\)", section, re.M)
    assert len(named) == 6
    assert [shown for shown, place in named if shown != place or not (ROOT / "src" / "blipvqa" / place).is_file()] == []


def test_commands_in_the_pages_exist(texts):
    """`make x` and `blipvqa x` in a page are targets and commands; a renamed one would leave the page behind."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    commands = set(re.findall(r'"([a-z-]+)"', (ROOT / "src/blipvqa/arguments.py").read_text(encoding="utf-8")))
    for path, text in texts.items():
        if path.suffix == ".md" and path.name != "lab-notes.md":
            code = "\n".join(re.findall(r"^(?:    .*|```sh\n.*?```)|`[^`\n]+`", text, re.M | re.S))
            assert set(re.findall(r"(?<![\w-])make ([a-z][a-z-]+)", code)) <= targets, path
            assert set(re.findall(r"-m blipvqa ([a-z-]+)", code)) <= commands, path


def test_the_plan_for_contributors_is_the_plan_that_is_tested():
    """Each room that stands is named on its floor."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    shown = {
        Path(room).stem: int(floor)
        for floor, rooms in re.findall(r"^\| (\d+) \| (.*) \|$", page, re.M)
        for room in re.findall(r"`([\w.]+)/?`", rooms)
    }
    standing = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert shown == {room: floor for room, floor in FLOORS.items() if room in standing}


def missing_tests(cell: str) -> list[tuple[str, str]] | None:
    """The tests that a cell of a table names (files, or files::functions) and that are not there; None if it names none."""
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", cell)
    texts = [(ROOT / file).read_text(encoding="utf-8") if (ROOT / file).is_file() else "" for file, _ in named]
    gone = [test for test, text in zip(named, texts, strict=True) if f"def {test[1]}" not in text]
    return gone if named else None


def test_every_mend_of_the_measures_names_a_test_that_exists():
    page = (ROOT / "docs" / "measures.md").read_text(encoding="utf-8")
    section = page.split("## What was misleading, before and now")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")][2:]
    assert [len(row) for row in rows] == [5] * 11
    assert {row[0]: missing_tests(row[-1]) for row in rows if missing_tests(row[-1]) != []} == {}


def test_every_fault_of_the_table_names_tests_that_exist():
    """`docs/reliability.md` is one table; a row's last cell names files or functions of `tests/`."""
    rows = [
        re.split(r"(?<!\\) \| ", line.removeprefix("| ").removesuffix(" |"))
        for line in (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| ")
    ]
    assert len(rows) > 80
    assert [row[0] for row in rows if len(row) != 5] == []
    missing = []
    for fault, *_, tests in rows[2:]:
        gone = missing_tests(tests)
        missing += [(fault, gone)] if gone != [] else []
    assert missing == []
