"""The reporting sheet says what a run measured and was set to, and leaves the rest to its author."""

import re
import shutil

import pytest
from conftest import write_forged

from blipvqa import Run, load_splits
from blipvqa.board import read_runs
from blipvqa.pages.reporting import write_reporting
from blipvqa.tasks import task_of, write_report
from blipvqa.vqa.others import write_others
from blipvqa.vqa.scoring_others import score_others


@pytest.fixture
def scored(tiny, root):
    """A run folder with numbers, made without training."""
    config = tiny("theirs")
    data = load_splits(config)["test"]
    rows = [{**row, "prediction": row["answer"] if i % 2 else "nonsense"} for i, row in enumerate(data.rows)]
    return score_others(config, write_others(rows, root / "theirs.csv", "table"), resamples=50)


def sheet(run):
    scores = run.metrics("test")
    return write_reporting(run, load_splits(run.config), scores, task_of(run.config).measures).read_text("utf-8")


def item(text, claim):
    """The line of a CLAIM item."""
    return next(line for line in text.splitlines() if line.startswith(f"| {claim} |"))


def test_what_was_measured_stands_there_with_its_interval(scored):
    text, entry = sheet(scored), scored.metrics("test")["overall"]["exact_match"]
    assert f"| exact match | {entry['value']:.3f} | {entry['low']:.3f} to {entry['high']:.3f} | 42 (6) |" in text
    assert "| test | 42 | 6 | 6 |" in text and "| train | 163 | 24 | 24 |" in text
    assert re.search(r"\| answer \| `yes` \| \d+ \| \d+\.\d% \|", text)
    assert "image (picture's bytes)" in item(text, "20")
    assert "doi 10.1148/ryai.240300" in text and "BMJ 2024;385:e078378" in text
    assert all(warning.replace("`", "'") in text for warning in scored.metrics("test")["warnings"])


def test_what_nobody_measured_is_a_blank_and_no_number(scored):
    """Predictions of others have no versions, no weights, no best epoch."""
    text = sheet(scored)
    for claim, blank in (
        ("23", "versions"),
        ("22", "number of"),
        ("26", "how"),
        ("44", "sources and role"),
        ("33", ""),
    ):
        assert f"[author: {blank}" in item(text, claim)
    scores = scored.metrics("test")
    scores["overall"]["exact_match"] |= {"value": None, "n": 0, "low": None, "high": None}
    write_forged(scored, scores)
    assert "| exact match | – | – |" in sheet(scored)
    assert "nan" not in text.lower().split()


def test_rows_that_were_left_out_stand_there_with_their_reason(scored):
    splits = load_splits(scored.config)
    splits.notes.append("train: 3 rows were left out, their pictures cannot be read")
    scores, measures = scored.metrics("test"), task_of(scored.config).measures
    text = write_reporting(scored, splits, scores, measures).read_text("utf-8")
    assert "- `train: 3 rows were left out, their pictures cannot be read`" in text.split("## Prevalence")[0]


def test_items_stand_in_their_order_and_once(scored):
    claims = re.findall(r"^\| ([\d, ]+) \| ", sheet(scored), re.M)
    numbers = [int(number) for claim in claims for number in claim.split(", ")]
    first = [int(claim.split(",")[0]) for claim in claims]
    assert first == sorted(first)
    assert len(numbers) == len(set(numbers))
    assert max(numbers) <= 44


def test_the_report_writes_it_beside(finished, root):
    shutil.copytree(finished[0] / "outputs" / "tiny", root / "outputs" / "tiny")
    run = Run(root / "outputs" / "tiny")
    write_report(run, load_splits(run.config))
    text = (run.folder / "reporting.md").read_text(encoding="utf-8")
    assert "torch 2" in item(text, "23")
    assert "best exact_match on validation" in item(text, "26")
    assert [row.run.name for row in read_runs(root / "outputs")[0]] == ["tiny"]
