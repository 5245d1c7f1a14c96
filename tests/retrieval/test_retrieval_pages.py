"""A tiny run by notebook 07 as papermill runs it: what it measures, shows and searches."""

import io
import json
import shutil

import nbformat
import numpy as np
import pytest
import torch
from conftest import TINY
from PIL import Image

from blipvqa import Run, evaluate, load_config, load_model, load_splits, make_index, search
from blipvqa.data.formats import SourceError
from blipvqa.errors import InputError
from blipvqa.numbers import nearest
from blipvqa.page.answers import NEAREST, Answers
from blipvqa.retrieval import search as searching
from blipvqa.retrieval.matching import look_at_pair
from blipvqa.retrieval.pictures import worst_and_best
from blipvqa.runs.run import RunError
from blipvqa.tasks import task_of, write_report
from blipvqa.training.trained import unknown_words
from blipvqa.workflow import run_notebooks


@pytest.fixture(scope="module")
def made(tmp_path_factory, request):
    """(root, config) of a tiny run made by the task's own notebook. Read only, but for its index."""
    folder = tmp_path_factory.mktemp("retrieval")
    (folder / "notebooks").symlink_to(request.config.rootpath / "notebooks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLIPVQA_ROOT", str(folder))
        overrides = TINY | {"task": "retrieval", "train.batch_size": 8, "retrieval.queue": 16, "retrieval.rerank": 4}
        config = load_config(None, overrides, "tiny")
        assert task_of(config).notebooks[-1] == "07_retrieval"
        run_notebooks(config, None, "tiny", overrides, ("07_retrieval",))
    return folder, config


@pytest.fixture
def run(made, monkeypatch):
    monkeypatch.setenv("BLIPVQA_ROOT", str(made[0]))
    return Run(made[1].folder)


@pytest.fixture
def own(made, run):
    """A folder of eight pictures of one's own."""
    folder = made[0] / "own"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "deep").mkdir(parents=True)
    for i in range(8):
        noise = np.random.default_rng(i).integers(0, 255, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / ("deep" if i % 2 else ".") / f"{i}.png")
    return folder


def test_the_notebook_shows_numbers_searches_and_maps(made):
    notebook = nbformat.read(made[0] / "outputs" / "tiny" / "notebooks" / "07_retrieval.ipynb", 4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    pages = "".join(output.data["text/html"] for output in outputs if "text/html" in output.get("data", {}))
    for text in ("gallery: 6 pictures, 12 texts", "chance", "the first right one is number", "match", "cosine"):
        assert text in pages, text


def test_metrics_hold_both_orders_chance_exchange_matching_and_the_start(run):
    scores = run.metrics("test")
    assert scores["gallery"] == {"pictures": 6, "texts": 12, "shared": 0, "matched": 4}
    assert {"chance", "exchanged", "needs_picture", "matching", "start", "by"} <= scores.keys()
    assert "matched_gain" not in scores  # of 12 texts 4 are matched: R@5 and R@10 are R@4
    assert scores["overall"]["img_r1"]["n"] == 12 and scores["overall"]["txt_r1"]["n"] == 6
    assert scores["chance"]["img_r1"]["value"] == pytest.approx(1 / 6)
    assert "stain" in scores["by"] and "NaN" not in json.dumps(scores)
    predictions = run.predictions("test")
    assert [bool(row["txt"]) for row in predictions] == [True, False] * 6
    assert predictions[0]["prediction"] == predictions[0]["img"]["nearest"][0]["id"]


def test_evaluating_again_searches_nothing_again(run, monkeypatch):
    monkeypatch.setattr("blipvqa.retrieval.evaluation.predict", lambda *_: pytest.fail("asked again"))
    before = (run.folder / "predictions-test.jsonl").read_bytes()
    evaluate(run.config, progress=False, resamples=20)
    assert (run.folder / "predictions-test.jsonl").read_bytes() == before


def test_the_report_and_the_card_name_the_gallery_and_what_needs_the_picture(run):
    page = write_report(run, load_splits(run.config)).read_text()
    for text in (
        "Pictures by words",
        "Words by picture",
        "Does it look at the picture?",
        "gallery: 6 pictures",
        ">Another seed<",
    ):
        assert text in page, text
    assert "http" not in page.split("<body")[1].split("<script")[0].replace("xmlns", "")
    card = (run.model_folder / "README.md").read_text()
    assert "Gallery: 6 pictures, 12 texts; of each search the best 4 matched" in card and "chance" in card


def test_searches_that_fail_come_first_and_both_kinds_are_shown():
    rows = [
        {"img": {"rank": rank, "nearest": [{"score": float(i)}]}, "txt": None} for i, rank in enumerate([1, 9, 1, 2, 1])
    ]
    assert [row["img"]["rank"] for row in worst_and_best(rows, "img", 4)] == [9, 2, 1, 1]
    assert [row["img"]["rank"] for row in worst_and_best(rows, "img", 5)] == [9, 2, 1, 1, 1]
    assert worst_and_best(rows, "txt", 4) == []


def test_an_index_is_made_once_goes_on_after_a_kill_and_grows(run, own, monkeypatch):
    monkeypatch.setattr("blipvqa.retrieval.feature_files.PART", 3)
    folder = run.folder / "index"
    shutil.rmtree(folder, ignore_errors=True)
    encoded = []
    from blipvqa.models.retriever import BlipForRetrieval

    states = BlipForRetrieval.picture_states

    def counted(model, pixels, **more):
        encoded.append(len(pixels))
        if sum(encoded) > 6 and not monkeypatch_off:
            raise KeyboardInterrupt
        return states(model, pixels, **more)

    monkeypatch_off = []
    monkeypatch.setattr(BlipForRetrieval, "picture_states", counted)
    with pytest.raises(KeyboardInterrupt):
        make_index(run, own, progress=False)
    assert len(list(folder.glob("pictures-*.safetensors"))) == 2
    monkeypatch_off.append(True)
    encoded.clear()
    index = make_index(run, own, progress=False)
    assert sum(encoded) == 2 and len(index.pictures) == 8
    encoded.clear()
    again = make_index(run, str(own), progress=False)
    assert not encoded and torch.equal(again.pictures, index.pictures)
    (own / "0.png").rename(own / "renamed.png")
    Image.new("RGB", (30, 30), "red").save(own / "red.png")
    grown = make_index(run, own, progress=False)
    assert sum(encoded) == 1 and [grown.name(i) for i in range(9)].count("renamed.png") == 1
    names = [json.loads(line)["name"] for line in next(folder.glob("own-*.jsonl")).read_text().splitlines()]
    assert sorted(names) == sorted(grown.name(i) for i in range(9))


def test_a_damaged_part_is_made_again_and_other_weights_are_refused(run, own):
    index = make_index(run, own, progress=False, fresh=True)
    (part,) = (run.folder / "index").glob("pictures-*.safetensors")
    part.write_bytes(part.read_bytes()[:50])
    assert torch.allclose(make_index(run, own, progress=False).pictures, index.pictures)
    note = run.folder / "index" / "made_by.json"
    note.write_text(json.dumps(json.loads(note.read_text()) | {"weights": "others"}))
    with pytest.raises(RunError, match="made with other weights"):
        make_index(run, own, progress=False)
    assert len(make_index(run, own, progress=False, fresh=True).pictures) == 8
    written = json.loads(note.read_text())
    note.write_text(json.dumps(written | {"precision": "bf16"}))
    with pytest.raises(RunError, match="made with other precision"):
        make_index(run, own, progress=False)
    del written["precision"]
    written["image size"] = written.pop("image_size")
    note.write_text(json.dumps(written))  # as an older version wrote it
    assert len(make_index(run, own, progress=False).pictures) == 8


def test_pictures_by_words_words_by_picture_and_pictures_by_picture(run):
    index = make_index(run, "test", progress=False)
    row, picture = index.dataset.rows[0], index.dataset.image(0)
    results = search(index, row["caption"], k=6, matched=6)
    stored = run.predictions("test")[0]["img"]["nearest"]
    assert [hit.rows[0]["id"] for hit in search(index, row["caption"], k=4, matched=4)] == [one["id"] for one in stored]
    assert results[0].match == pytest.approx(results[0].match) and len(results) == 6
    assert sorted(hit.score for hit in results) == [hit.score for hit in results][::-1]
    texts = search(index, picture, k=3, of="texts")
    assert len(texts) == 3 and texts[0].image is None and 0 <= texts[0].match <= 1
    alike = search(index, picture, k=2)
    assert alike[0].score == pytest.approx(1, abs=1e-5) and alike[0].match is None
    assert alike[0].rows[0]["id"] == row["id"] and alike[0].image().size == picture.size
    assert search(index, index.texts[0], k=1, of="texts")[0].score == pytest.approx(1, abs=1e-5)


def test_what_cannot_be_searched_is_said(run, own):
    index = make_index(run, own, progress=False)
    for query, options, problem in (
        (" ", {}, "search: the text is empty"),
        (". \u2800", {}, "search: the text is empty"),  # it was searched for
        ("gland", {"of": "texts"}, "holds no texts: make it with texts"),
        ("gland", {"of": "words"}, "'pictures' or 'texts'"),
        ("gland", {"k": 0}, "expected 1 or more"),
    ):
        with pytest.raises(InputError, match=problem):
            search(index, query, **options)
    assert search(make_index(run, own, texts=["gland", "Gland."], progress=False), own / "0.png", of="texts")
    for texts, problem in (
        ("a gland", "found the one text 'a gland', expected a list"),  # it was seven texts of a letter each
        (["gland", " . "], "found ' [.] ', expected texts with a letter"),
        (["gland", None], "found 'None'"),
    ):
        with pytest.raises(InputError, match=problem):
            make_index(run, own, texts=texts, progress=False)
    (own / "broken.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"1 of 9 pictures cannot be read, such as .*broken\.png"):
        make_index(run, own, progress=False)
    assert len(make_index(run, own, skip=True, progress=False).left_out) == 1
    with pytest.raises(FileNotFoundError, match="there is no folder 'nowhere'"):
        make_index(run, "nowhere")
    (own / "empty").mkdir()
    with pytest.raises(SourceError, match="holds no picture"):
        make_index(run, own / "empty")


def test_words_that_are_read_in_part_are_told(run, capsys):
    """Hits of the beginning of a text, and of words that the model does not know, looked like any others."""
    index = make_index(run, "test", progress=False)
    search(index, index.texts[0], k=1)
    assert "search:" not in capsys.readouterr().out
    search(index, "gland " * 31, k=1)
    search(index, "a gland of 腺体", k=1)
    said = capsys.readouterr().out
    assert "search: the text is too long for this model, which read no more than “gland gland" in said
    assert "search: this model's vocabulary has no word for “腺体”" in said
    make_index(run, "test", texts=["a gland", "gland " * 31, "a gland of 腺体"], progress=False)
    said = capsys.readouterr().out.splitlines()
    assert [line[: line.index("“") + 7] for line in said] == [
        "index: 1 of 3 texts is longer than is read (retrieval.max_words, retrieval.max_tokens), and the rest is cut "
        "off: “gland ",
        "index: 1 of 3 texts is read in part, with words that the model's vocabulary lacks: “a glan",
    ]
    other = load_splits(run.config)["test"].chosen([0, 1])  # captions of another source, of which no run has told
    other.rows = [row | {"caption": "a gland of 腺体"} for row in other.rows]
    make_index(run, other, progress=False)
    assert "index: 2 of 2 texts are read in part" in capsys.readouterr().out
    signs = '"gland" # ~ *'  # are spaces to the model, whether its vocabulary has them or not
    make_index(run, "test", texts=[signs], progress=False)
    assert not capsys.readouterr().out
    dataset = index.dataset.chosen([0])
    dataset.rows = [{**dataset.rows[0], "caption": signs}]
    assert unknown_words(run, dataset, ("caption",)) == []
    dataset.rows = [{**dataset.rows[0], "caption": "a gland of 腺体"}]
    (line,) = unknown_words(run, dataset, ("caption",))
    assert line.endswith("it cannot tell it from another")  # and writes nothing at all


def test_a_gallery_that_is_cut_into_cells_finds_the_same_near_ones(run, monkeypatch):
    pytest.importorskip("faiss")
    index = make_index(run, "train", progress=False)
    exact = search(index, index.dataset.image(3), k=3)
    monkeypatch.setattr(searching, "EXACT", 10)
    likely = search(index, index.dataset.image(3), k=3)
    assert likely[0].name == exact[0].name and isinstance(index.cells["pictures"], nearest.Cells)


def test_a_pair_is_looked_at_word_by_word(run):
    index = make_index(run, "test", progress=False)
    row = index.dataset.rows[0]
    pair = look_at_pair(index.model, index.processor, index.image(0), row["caption"], run.config.retrieval)
    assert pair.match == pytest.approx(run.predictions("test")[0]["match"], abs=1e-4)
    assert " ".join(word for word, _ in pair.looks) == row["caption"].lower()
    assert all(look.shape == (4, 4) for _, look in pair.looks)


def test_pictures_of_another_size_are_searched_at_the_model_s_own(run):
    larger = load_splits(
        run.config.model_copy(update={"model": run.config.model.model_copy(update={"image_size": 48})})
    )
    index = make_index(run, larger["test"], progress=False)
    own = make_index(run, "test", progress=False)
    assert larger["test"].pixels(0).shape[-1] == 48 and index.encoded([0]).pixels([0]).shape[-1] == 32
    assert torch.equal(index.pictures, own.pictures)


def test_beside_an_answer_stand_the_nearest_training_pictures_with_their_answers(run):
    config = load_config(None, TINY, "questions")
    train = load_splits(config)["train"]
    index = make_index(run, train, progress=False)
    assert not index.texts and len(index.pictures) == 24
    model, processor = load_model("scratch", config, train.texts)
    picture = io.BytesIO()
    train.image(0).save(picture, "PNG")
    answered = Answers(model, processor, config.generate, index)([picture.getvalue()], "is there fat?", with_map=False)
    alike = answered["nearest"]
    assert len(alike) == NEAREST and alike[0]["cosine"] == 1.0
    assert alike[0]["said"][0] == f"{train.rows[0]['question']} {train.rows[0]['answer']}"
    assert alike[0]["picture"].startswith("data:image/jpeg")
