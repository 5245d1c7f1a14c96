"""What the papers of this house say is so: their sections, files, commands and versions exist."""

import re
from pathlib import Path

import pytest
from test_floors import ROOT, tracked_files

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


def test_no_path_of_one_machine_is_committed(texts):
    private = re.compile(r"(?<![\w.])/(home|Users|root|work)/\w|[A-Z]:\\\\?Users\\")
    assert [path.relative_to(ROOT).as_posix() for path, text in texts.items() if private.search(text)] == []
