"""Two runs of any task side by side: by what the task says, with both trainings, and with what other seeds would change."""

import json
import shutil

import pytest
import yaml
from conftest import text_of, write_forged

from blipvqa import Run, evaluate, fine_tune
from blipvqa.__main__ import main
from blipvqa.comparison import _others, write_comparison
from blipvqa.config.plain_yaml import write_yaml
from blipvqa.numbers.spread import by_seed_alone, shift
from blipvqa.pages import plots
from blipvqa.tasks import CAPTION, PRETRAIN, RETRIEVAL, VQA
from blipvqa.training.comparison import compare_predictions


def captions(*texts):
    references = ["a gland in fat", "a vessel in muscle", "dense tissue", "an empty field"]
    return [
        {"id": f"test/{i}", "image_id": f"image{i}", "references": [right], "prediction": text}
        for i, (right, text) in enumerate(zip(references, texts, strict=True))
    ]


def searches(*ranks):
    def search(rank):
        return {"rank": rank, "itc_rank": rank, "exchanged": 9, "itc_exchanged": 9}

    return [
        {"id": f"test/{i}", "image_id": f"image{i}", "caption": f"text {i}", "img": search(rank), "txt": search(rank)}
        for i, rank in enumerate(ranks)
    ]


def test_captions_and_searches_are_compared_by_their_own_measures(tiny):
    right = captions("a gland in fat", "a vessel in muscle", "dense tissue", "an empty field")
    wrong = captions("a gland in fat", "a gland in muscle", "nothing", "an empty field")
    compared = compare_predictions(CAPTION.comparing, wrong, right, config=tiny(task="caption"))
    assert next(iter(compared["overall"])) == "cider_d" and compared["overall"]["cider_d"]["difference"] > 0
    assert sorted(compared["better_b"]) == ["test/1", "test/2"] and compared["better_a"] == []
    assert (compared["equal"], compared["overall"]["cider_d"]["n"]) == (2, 4)
    compared = compare_predictions(RETRIEVAL.comparing, searches(1, 2, 3, 1), searches(1, 1, 3, 2))
    assert next(iter(compared["overall"])) == "r_mean"
    assert (compared["better_a"], compared["better_b"], compared["equal"]) == (["test/3"], ["test/1"], 2)
    assert PRETRAIN.comparing is RETRIEVAL.comparing and len({id(t.comparing) for t in (VQA, CAPTION, RETRIEVAL)}) == 3
    json.dumps(compared, allow_nan=False)


def test_the_figure_shows_every_measure_of_its_scale_and_the_page_names_the_others(monkeypatch):
    """Before, it showed the first twelve, unsaid."""
    shown, draw = [], plots.plot_difference
    monkeypatch.setattr(plots, "plot_difference", lambda entries, names: shown.extend(entries) or draw(entries, names))
    asked = (
        ("is it?", "yes"),
        ("is it?", "no"),
        ("where is it?", "in the upper left"),
        ("what is it?", "a pink gland"),
    )
    rows = [{"id": q + a, "image_id": q + a, "question": q, "answer": a} for q, a in asked]
    said = [[{**row, "prediction": word} for row in rows] for word in ("yes", "no")]
    compared = compare_predictions(VQA.comparing, *said)
    assert "Not in the figure" not in text_of(_others(compared, VQA.comparing, ("a", "b"), "images"))
    measured = [name for name, entry in compared["overall"].items() if entry["difference"] is not None]
    assert shown == [VQA.comparing.measures.title(name) for name in measured] and len(shown) > 12
    compared = compare_predictions(RETRIEVAL.comparing, searches(1, 2, 3, 1), searches(1, 1, 3, 2))
    page = text_of(_others(compared, RETRIEVAL.comparing, ("a", "b"), "images"))
    assert "Not in the figure, since not from 0 to 1: " in page and "mean rank" in page.split("Not in the figure")[1]


def test_patients_count_whichever_run_comes_first(folder, tiny):
    """Before, pictures were drawn where the first run had no data.group_column: two patients looked like eight."""
    for split, first, count in (("train", 0, 16), ("validation", 8, 4), ("test", 10, 16)):
        rows = [
            {"image": f"images/{first + i // 2}.png", "question": f"is it {i}?", "answer": ("yes", "no")[i % 2]}
            | {"patient": f"{split} {i // 8}"}
            for i in range(count)
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    runs = []
    for name, column in (("alone", None), ("grouped", "patient")):
        config = tiny(name, data__source="mine", data__group_column=column, train__epochs=1)
        fine_tune(config)
        runs.append(evaluate(config, progress=False, resamples=20, grounding=False, start=False))
    for a, b in (runs, runs[::-1]):
        page = write_comparison(a, b).read_text(encoding="utf-8")
        assert "with 95 % intervals, over groups in pairs" in page
        assert ">16 (2)<" in page and ">16 (8)<" not in page


def test_how_far_seeds_lie_apart_by_hand():
    assert shift([0.5, 0.6], [0.5, 0.6, 0.7]) is None and by_seed_alone([0.1, 0.2]) is None
    assert by_seed_alone([0.4, 0.5, 0.6]) == pytest.approx(4.30265 * 0.1 * 2**0.5, abs=1e-4)
    between = shift([0.4, 0.5, 0.6], [0.7, 0.8, 0.9, None])
    half = 2.77645 * (2 * 0.01 / 3) ** 0.5  # equal spreads of three: Student's of four degrees of freedom
    assert (between["value"], between["low"]) == (pytest.approx(0.3), pytest.approx(0.3 - half, abs=1e-4))
    assert shift([0.5] * 3, [0.6] * 3) is by_seed_alone([0.5] * 3) is None  # equal seeds say nothing of others


@pytest.fixture
def copied(finished, root):
    """`copied(name, value, key=…)`: the finished run under another name, with another exact match and other settings."""

    def copy(name, value=None, **settings):
        folder = root / "outputs" / name
        skipped = shutil.ignore_patterns("model", "checkpoints", "answers")
        shutil.copytree(finished[0] / "outputs" / "tiny", folder, ignore=skipped)
        config = yaml.safe_load((folder / "config.yaml").read_text())
        for key, setting in settings.items():
            section, _, last = key.rpartition("__")
            (config[section] if section else config)[last] = setting
        (folder / "config.yaml").write_text(write_yaml(config))
        if value is not None:
            scores = Run(folder).metrics("test")
            scores["overall"]["exact_match"]["value"] = value
            write_forged(Run(folder), scores)
        return Run(folder)

    return copy


def test_a_page_says_what_other_seeds_would_change(copied, root):
    for seed, value in enumerate((0.4, 0.5, 0.6)):
        copied(f"a{seed}", value, seed=seed)
        copied(f"b{seed}", value + 0.3, seed=seed, train__learning_rate=0.5)
    a, b = (Run(root / "outputs" / name) for name in ("a0", "b0"))
    page = write_comparison(a, b).read_text(encoding="utf-8")
    assert "95 of 100 pairs of runs of the recipe of a0 lie up to 0.608 apart by their seeds alone" in page
    assert "over seeds b0 minus a0 is +0.300 (+0.073 to +0.527, Welch)" in page
    differing = page.split(">Settings that differ</h2>")[1].split("<h2")[0]
    assert "train.learning_rate" in differing and "0.5" in differing and "seed" not in differing
    assert "Both trainings" in page and "loss and validation score of both runs" in page
    page = write_comparison(a, Run(a.folder.with_name("a1"))).read_text(encoding="utf-8")
    assert "These two are seeds of one recipe" in page and "Welch" not in page
    assert "<p>.</p>" not in page
    twins = [copied(f"twin{seed}", seed=seed, train__learning_rate=0.75) for seed in range(2)]
    page = write_comparison(*twins).read_text(encoding="utf-8")  # two seeds say nothing of 95 of 100 pairs
    assert "These two are seeds of one recipe" in page and "<p>.</p>" not in page
    alone = copied("alone", seed=9, train__learning_rate=0.25)
    page = write_comparison(alone, copied("too", seed=9, train__learning_rate=0.125)).read_text(encoding="utf-8")
    assert "Of alone and too no other seed lies in outputs/, so its spread is not known" in page


def test_pictures_on_which_two_disagree_are_shown_or_it_is_said_why_not(copied):
    a, b = copied("a"), copied("b")
    rows = b.predictions("test")
    write_forged(b, b.metrics("test"), [{**row, "prediction": row["answer"]} for row in rows])
    page = write_comparison(a, b).read_text(encoding="utf-8")
    assert "data:image/jpeg" in page.split("Better in b: ")[1] and "as a table" in page
    assert ">asked and actual</th>" in page and ">actual</th>" not in page
    config = yaml.safe_load((a.folder / "config.yaml").read_text())
    config["data"]["synthetic"]["seed"] = 7
    (a.folder / "config.yaml").write_text(write_yaml(config))
    page = write_comparison(a, b).read_text(encoding="utf-8")
    assert "Their pictures are not shown: run &#39;a&#39; was scored on other data" in page
    assert "data:image/jpeg" not in page


def test_runs_of_tasks_that_share_no_measure_are_refused(copied, capsys):
    copied("asks")
    copied("writes", task="caption", train__metric="cider_d")
    assert main(["compare", "asks", "writes"]) == 2
    printed = capsys.readouterr().err
    assert "'asks' is a run of task vqa and 'writes' of task caption, which have no measure in common" in printed
