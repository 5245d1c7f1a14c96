"""Two runs that are equally good: how often a page that compares them calls something real.

`pytest -s -m slow tests/vqa/test_null_pages.py` prints the table of `docs/measures.md`.
"""

from collections.abc import Sequence

import numpy as np
import pytest

from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.numbers.comparison import adjusted, compare_counts
from blipvqa.numbers.measures import Measures, ratio
from blipvqa.training.comparison import compare_predictions
from blipvqa.vqa.comparison import QUESTIONS

WORDS = ("renal cell carcinoma", "lung", "fat necrosis", "liver", "spleen of a child", "brain")
NAMES = ("headline", "before", "measures", "slices", "slices before")
SLOW = ((10, 7, 1000), (30, 7, 1000), (140, 7, 600), (858, 8, 100))  # images, questions an image, pages


def null_runs(images: int, questions: int, generator: np.random.Generator) -> tuple[list[dict], list[dict]]:
    """Two runs of the same skill: each question has its difficulty, a picture's questions share some of it."""
    rows, runs = [], ([], [])
    ease = generator.beta(2, 1.5, size=images)
    for i in range(images * questions):
        closed, answer = generator.random() < 0.5, str(generator.choice(WORDS))
        if closed:
            answer = str(generator.choice(["yes", "no"]))
        question = ("is it there?", "does it grow?")[i % 2] if closed else ("what is it?", "where is it?")[i % 2]
        rows.append((i, question, answer, "closed" if closed else "open", ease[i // questions]))
    for run in runs:
        for i, question, answer, kind, easy in rows:
            wrong = {"yes": "no", "no": "yes"}.get(answer) or str(generator.choice(WORDS))
            row = {"id": f"test/{i}", "image_id": f"image{i // questions}", "question": question, "answer": answer}
            prediction = answer if generator.random() < easy else wrong
            run.append({**row, "prediction": prediction, "answer_type": kind, "site": f"site {i % 6}"})
    return runs


def null_pages(
    images: int, questions: int, pages: int, resamples: int = 200, breakdown: Sequence[str] = ()
) -> dict[str, float]:
    """The share of pages on which the headline is real, and on which anything of the measures or slices is: as it would be
    if each test stood by itself, and as the page says it."""
    generator, shares = np.random.default_rng(images), dict.fromkeys(NAMES, 0.0)
    for seed in range(pages):
        compared = compare_predictions(
            QUESTIONS,
            *null_runs(images, questions, generator),
            breakdown=breakdown,
            bootstrap=Bootstrap("image_id", resamples, seed),
        )
        slices = [entry["exact_match"] for levels in compared["by"].values() for entry in levels.values()]
        overall = dict(compared["overall"])
        tests = {
            name: [{"real": (e["p"] or 1) < 0.05} for e in entries]
            for name, entries in (("before", overall.values()), ("slices before", slices))
        }
        tests |= {"headline": [overall.pop("exact_match")], "measures": list(overall.values()), "slices": slices}
        for name, entries in tests.items():
            shares[name] += any(entry["real"] for entry in entries) / pages
    return shares


def test_pages_of_equally_good_runs_rarely_call_anything_real():
    shares = null_pages(images=30, questions=4, pages=60, resamples=50, breakdown=["site"])
    assert shares["headline"] <= 0.15 and shares["measures"] <= 0.15 and shares["slices"] <= 0.15
    assert shares["slices before"] > 2 * shares["slices"], (
        "without an adjustment a slice of ten is found on every ninth page"
    )
    assert shares["before"] > 0.15, "without an adjustment for many measures a third of the pages found something"


@pytest.mark.slow
def test_null_pages_of_any_size():
    print("\n| images × questions | pages | a measure, each by itself | the headline | any other measure | any slice |")
    wrong = {}
    for images, questions, pages in SLOW:
        shares = null_pages(images, questions, pages)
        cells = " | ".join(f"{100 * shares[name]:.1f} %" for name in ("before", "headline", "measures", "slices"))
        print(f"| {images} × {questions} | {pages:,} | {cells} |", flush=True)
        most = 0.05 + 3 * (0.05 * 0.95 / pages) ** 0.5
        wrong |= {(images, name): shares[name] for name in ("headline", "measures", "slices") if shares[name] > most}
    assert wrong == {}


def null_counts(images: int, questions: int, generator: np.random.Generator) -> tuple[list[np.ndarray], list, list]:
    """What `null_runs` would be right at, drawn at once: counts of both runs, groups, and the rows of all and of each
    question type. A wrong answer to an open question is by chance the right word."""
    ease = np.repeat(generator.beta(2, 1.5, size=images), questions)
    rows = images * questions
    closed, second = generator.random(rows) < 0.5, np.arange(rows) % 2 == 1
    chance = ease + (1 - ease) * np.where(closed, 0, 1 / len(WORDS))
    runs = [np.stack([generator.random(rows) < chance, np.ones(rows)], axis=1).astype(float) for _ in range(2)]
    types = [np.flatnonzero((closed == kind) & (second == half)) for kind in (True, False) for half in (True, False)]
    return runs, np.repeat(np.arange(images), questions), [np.arange(rows), *types]


@pytest.mark.slow
def test_the_headline_and_slices_of_many_large_pages():
    """Whole pages of 858 images take two seconds each, their exact match alone a tenth of one."""
    pages, measures = 1200, Measures({"exact_match": ratio("right", "all", "")})
    generator = np.random.default_rng(8588)
    headline = slices = 0
    for seed in range(pages):
        runs, groups, rows = null_counts(858, 8, generator)
        tests = compare_counts(*runs, groups, rows, measures, ["exact_match"], Bootstrap("image_id", 20, seed))
        first, *of_slices = [test["exact_match"] for test in tests]
        headline, slices = headline + first["real"], slices + any(test["real"] for test in adjusted(of_slices))
    print(f"\n| 858 × 8 | {pages:,} | | {100 * headline / pages:.1f} % | | {100 * slices / pages:.1f} % |")
    most = 0.05 + 3 * (0.05 * 0.95 / pages) ** 0.5
    assert max(headline, slices) / pages <= most
