"""A run on rows with several pictures, from training to every page that shows them."""

import json

import numpy as np
import pytest
from conftest import TINY
from PIL import Image

from blipvqa import Run, answer_all, ask, evaluate, fine_tune, load_config, load_model, load_splits
from blipvqa.data.several_pictures import pictures_of
from blipvqa.errors import InputError
from blipvqa.pages.gallery import batch_look
from blipvqa.pages.verdicts import save_pictures
from blipvqa.tasks import write_report
from blipvqa.vqa.batches import collator_for
from blipvqa.vqa.exchange import PARTS, of_several
from blipvqa.vqa.explained import stored_explanations
from blipvqa.vqa.pictures import explanations, gallery
from blipvqa.vqa.review import write_review

PAIRS = [[f"images/{k}.png", f"images/{k + 1}.png"] for k in range(0, 18, 2)]


def jsonl(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """(root, config) of a tiny run whose rows show a picture, two or three."""
    root = tmp_path_factory.mktemp("pairs")
    (root / "mine" / "images").mkdir(parents=True)
    for i in range(20):
        noise = np.random.default_rng(i).integers(0, 255, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / "mine" / "images" / f"{i}.png")
    lists = [*PAIRS, "images/18.png", ["images/0.png", "images/18.png", "images/19.png"]]
    lines = [
        {"image": lists[i % len(lists)], "question": f"is {i} there?", "answer": "yes" if i % 2 else "no"}
        for i in range(22)
    ]
    for split, chosen in (("train", lines), ("validation", lines[:11]), ("test", lines[11:])):
        jsonl(root / "mine" / f"{split}.jsonl", chosen)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLIPVQA_ROOT", str(root))
        config = load_config(None, TINY | {"data.source": "mine", "model.picture_places": True}, "pairs")
        fine_tune(config)
        done = evaluate(config, progress=False, resamples=20)
        write_report(done, load_splits(config))
    return root, config


@pytest.fixture
def run(pairs, monkeypatch):
    monkeypatch.setenv("BLIPVQA_ROOT", str(pairs[0]))
    return pairs[1]


def test_predictions_say_their_pictures_and_every_page_shows_them(run):
    data = load_splits(run)["test"]
    predictions = [json.loads(line) for line in (run.folder / "predictions-test.jsonl").read_text().splitlines()]
    assert [p.get("image_ids") for p in predictions] == [row.get("image_ids") for row in data.rows]
    assert all(p["unlike"] > 0 for p in predictions)
    shown = str(gallery(data, predictions))
    assert shown.count("<img") == 11
    stored = [e for e in stored_explanations(Run(run.folder), "test")]
    assert stored and {e.map.ndim for e in stored} <= {2, 3} and any(e.map.ndim == 3 for e in stored)
    assert str(explanations(data, predictions, stored)).count("<img") == len(stored)
    assert "Predicted against actual" in (run.folder / "report.html").read_text(encoding="utf-8")
    images = save_pictures(data, run.folder)
    with Image.open(run.folder / images[predictions[0]["image_id"]]) as sheet:
        assert sheet.size == data.image(0).size and sheet.width > 40
    assert images[predictions[0]["image_id"]] in write_review(predictions, run.folder, images=images).read_text()
    processor = load_model(str(run.folder / "model"))[1]
    assert str(batch_look(collator_for(processor, run)(data.__getitems__([0, 1])), processor)).count("<img") == 2


def test_a_list_is_asked_about_as_one_as_the_run_answered(run):
    model, processor = load_model(str(run.folder / "model"))
    data = load_splits(run)["test"]
    predictions = [json.loads(line) for line in (run.folder / "predictions-test.jsonl").read_text().splitlines()]
    for place in (0, 9, 10):
        question = data.rows[place]["question"]
        answer = ask(model, processor, data.images(place), question, run.generate, together=True)
        assert answer.answer == predictions[place]["prediction"]
        assert answer.confidence == pytest.approx(predictions[place]["confidence"], abs=1e-4)
        assert answer.unlike == pytest.approx(predictions[place]["unlike"], rel=1e-3)
        assert len(answer.images) == len(data.images(place)) and answer._repr_html_().count("<img") == 1
    one_by_one = ask(model, processor, data.images(0), "is 1 there?")
    assert len(one_by_one) == 2
    both = ask(model, processor, data.images(0), ["is 1 there?", "is 2 there?"], together=True)
    assert [answer.question for answer in both] == ["is 1 there?", "is 2 there?"]
    for wrong in (data.image(0), []):
        with pytest.raises(InputError, match="together=True asks about a list of 1 to 64 pictures"):
            ask(model, processor, wrong, "what?", together=True)


def test_a_table_of_lists_is_answered_with_its_lists(run):
    lines = [{"image": PAIRS[0], "question": "is 11 there?"}, {"image": "images/18.png", "question": "is 20 there?"}]
    table = run.folder.parent.parent / "mine" / "own.jsonl"
    jsonl(table, lines)
    answers = [json.loads(line) for line in answer_all(run, table, "own-answers.jsonl").read_text().splitlines()]
    assert [json.loads(answers[0]["image"]), answers[1]["image"]] == [PAIRS[0], "images/18.png"]
    predictions = [json.loads(line) for line in (run.folder / "predictions-test.jsonl").read_text().splitlines()]
    assert [row["answer"] for row in answers] == [predictions[0]["prediction"], predictions[9]["prediction"]]


def test_one_of_several_pictures_is_dropped_and_exchanged_and_the_page_says_what_it_costs(run):
    data = load_splits(run)["test"]
    several = data.chosen(of_several(data.rows))
    assert len(several) == 10
    dropped, other = (several.showing(change(several.rows, 0)) for change in PARTS.values())
    for own, less, changed in zip(several.rows, dropped.rows, other.rows, strict=True):
        assert len(pictures_of(less)) == len(own["image_ids"]) - 1 and set(pictures_of(less)) < set(own["image_ids"])
        assert sum(a != b for a, b in zip(own["image_ids"], changed["image_ids"], strict=True)) == 1
    assert [one.tobytes() for one in other.images(0)] != [one.tobytes() for one in several.images(0)]
    assert len(dropped.images(0)) == len(pictures_of(dropped.rows[0]))
    grounding = Run(run.folder).metrics("test")["grounding"]
    assert grounding["gap"]["one_dropped"]["n"] == 10 and "one_exchanged" in grounding["sensitivity"]
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "one of several pictures exchanged" in page and "Of 10 questions about several pictures" in page
