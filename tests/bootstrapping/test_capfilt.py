"""CapFilt on a tiny model, end to end: stages that resume, what is kept, and what is measured."""

import csv
import json

import pytest
from conftest import TINY

from blipvqa import Run, load_config, load_splits
from blipvqa.bootstrapping.members import Member
from blipvqa.bootstrapping.report import write_report
from blipvqa.bootstrapping.rounds import bootstrap, load_bootstrapped
from blipvqa.bootstrapping.scores import score
from blipvqa.bootstrapping.sheet import read_pairs, write_pairs
from blipvqa.bootstrapping.stages import plan
from blipvqa.bootstrapping.tables import fault_table, filter_table
from blipvqa.config.knobs import ConfigError
from blipvqa.errors import InputError
from blipvqa.runs.run import RunError

IMAGES = {"train": 12, "validation": 6, "test": 6}
BOOTSTRAP = {
    "task": "pretrain",
    "train.epochs": 1,
    "train.samples": 0,
    "retrieval": {"queue": 64, "momentum": 0.9, "rerank": 0},
    "data.synthetic": {"images": IMAGES, "size": 48, "caption_noise": 0.4},
    "caption.max_length": 40,
    "bootstrap.clean": {"synthetic": {"images": IMAGES, "size": 48, "seed": 1}},
    "bootstrap.threshold": 0.0,
}


def small(name="tiny", **overrides):
    return load_config(None, TINY | BOOTSTRAP | {k.replace("__", "."): v for k, v in overrides.items()}, name)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """(root, config, what `bootstrap` returns) of one round. Read only."""
    folder = tmp_path_factory.mktemp("bootstrap")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLIPVQA_ROOT", str(folder))
        config = small()
        return folder, config, bootstrap(config, resamples=20, progress=False)


@pytest.fixture
def result(done, monkeypatch):
    monkeypatch.setenv("BLIPVQA_ROOT", str(done[0]))
    return done[2]


def test_each_stage_is_an_ordinary_run_and_a_model_is_pre_trained_anew(result, done):
    stages = {"pretrained": "pretrain", "captioner": "caption", "filter": "retrieval", "bootstrapped": "pretrain"}
    for stage, task in stages.items():
        run = Run(done[0] / "outputs" / f"tiny-{stage}")
        assert run.finished and run.config.task == task
    captioner, judge = (Run(done[0] / "outputs" / f"tiny-{stage}") for stage in ("captioner", "filter"))
    assert captioner.config.model.name == judge.config.model.name == "outputs/tiny-pretrained/model"
    assert captioner.config.data.synthetic.caption_noise == 0 and captioner.config.train.metric == "cider_d"
    assert result.run.config.data.source == "outputs/tiny/bootstrapped" and result.run.config.model.name == "scratch"


def test_the_folder_is_a_source_like_any_other_that_says_where_each_text_is_from(result, done):
    rows = [json.loads(line) for line in (result.folder / "train.jsonl").read_text().splitlines()]
    assert all(row.keys() == {"image", "caption", "origin", "match"} for row in rows)
    assert {row["origin"] for row in rows} == {"web", "synthetic", "human"}
    data = load_splits(result.run.config)
    assert len(data["train"]) == len(rows) == sum(text["kept"] for text in result.texts) + 2 * IMAGES["train"]
    assert {row["origin"] for split in ("validation", "test") for row in data[split].rows} == {"human"}
    synthetic = sum(row["origin"] == "synthetic" for row in rows)
    card = (result.folder / "README.md").read_text()
    assert f"{synthetic:,} of the {len(rows):,} texts" in card and "written by a model" in card
    assert str(done[0]) not in card
    card = (result.run.model_folder / "README.md").read_text()  # of the model that learnt them, which travels, too
    assert f"train: {synthetic:,} of {len(rows):,} texts were written by a model (origin: synthetic)" in card


def test_no_truth_is_given_away_and_every_text_is_judged(result):
    assert not (set(["fault", "truth", "right"]) & set(load_splits(result.run.config)["train"].columns))
    web = [text for text in result.texts if text["origin"] == "web"]
    assert len(web) == 2 * IMAGES["train"] and all(0 <= text["match"] <= 1 for text in result.texts)
    assert sum(not text["right"] for text in web) == round(0.4 * len(web))
    assert len({text["id"] for text in result.texts}) == len(result.texts)


def test_numbers_have_intervals_and_are_told_by_fault(result):
    scores = result.rounds[-1]["scores"]
    assert scores["kept"]["web"]["value"] == 1.0 and scores["filter"]["web"]["recall"]["value"] == 1.0
    assert scores["filter"]["web"]["precision"]["value"] == pytest.approx(14 / 24)
    assert {"none", "other picture"} <= scores["by_fault"].keys()
    assert scores["by_fault"]["other picture"]["auroc"]["low"] is not None
    assert scores["said"]["web, kept"]["terms_recalled"]["n"] == 24


def test_again_nothing_is_trained_written_or_judged(result, done, monkeypatch):
    monkeypatch.setattr("blipvqa.bootstrapping.candidates.predict", lambda *_: pytest.fail("written again"))
    monkeypatch.setattr("blipvqa.bootstrapping.judging.match_pairs", lambda *_: pytest.fail("judged again"))
    monkeypatch.setattr("blipvqa.training.loop.FineTuning.train", lambda *_: pytest.fail("trained again"))
    before = (result.folder / "train.jsonl").stat()
    assert bootstrap(done[1], resamples=20, progress=False).texts == result.texts
    assert (result.folder / "train.jsonl").stat().st_mtime_ns == before.st_mtime_ns
    assert load_bootstrapped(done[1]).rounds == result.rounds


def test_other_settings_are_not_shown_as_these(result, done):
    with pytest.raises(ConfigError, match=r"bootstrap\.threshold: 0\.0 -> 0\.5"):
        load_bootstrapped(small(bootstrap__threshold=0.5))
    for said in ({"caption__top_p": 0.5}, {"generate__precision": "fp32"}):  # a run may go on with these
        with pytest.raises(ConfigError, match="was made with other settings"):
            load_bootstrapped(small(**said))
    load_bootstrapped(small(generate__batch_size=3))
    with pytest.raises(RunError, match="run notebook 08"):
        load_bootstrapped(small("none"))


def test_a_filter_that_tells_nothing_and_texts_that_were_read_in_part_are_told(result):
    """Shares of 1 and 0 stood in the table as any others, and a long text was judged by its beginning, unsaid."""
    scores = result.rounds[-1]["scores"]
    assert any("the filter keeps every text of the source" in line for line in scores["warnings"])
    web = [dict(text) for text in result.texts if text["origin"] == "web"]
    said = score([{**text, "kept": False} for text in web], longer=2)["warnings"]
    assert any("the filter keeps no text of the source" in line for line in said)
    assert any(line == "there is no text that a model wrote" for line in said)
    assert any(line.startswith("2 of 24 texts are longer than the filter reads") for line in said)
    half = [{**text, "kept": i % 2 == 0, "origin": ("web", "synthetic")[i // 2 % 2]} for i, text in enumerate(web)]
    assert not any("the filter keeps" in line for line in score(half)["warnings"])
    cut = score([{**text, "unfinished": text["origin"] == "synthetic"} for text in half])["warnings"]
    assert any("12 of 12 written texts stop at caption.max_length" in line for line in cut)
    assert "the filter keeps every text of the source" in write_report(result).read_text()


def test_what_the_filter_reads_of_a_text_is_counted(done, result):
    filters = [Member(judging, load_splits(judging)) for judging in plan(done[1])[0].filters]
    assert filters[0].reads_in_part(["dense tissue " * 16, "dense tissue"]) == [True, False]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"bootstrap__clean": {}}, "bootstrap.clean says nothing"),
        ({"bootstrap__captioner": {"train.epohcs": 1}}, "did you mean train.epochs"),
        ({"bootstrap__clean": {"sauce": "x"}}, "data.sauce"),
        ({"bootstrap__write": "beam", "bootstrap__captions": 2}, "beam search writes one caption"),
        ({"task": "caption"}, "bootstrap.clean needs task: pretrain"),
    ],
)
def test_impossible_settings_are_refused_before_anything_slow(root, wrong, message):
    with pytest.raises(ConfigError, match=message):
        plan(small(**wrong))
    assert not (root / "outputs").exists()


def test_the_page_marks_what_a_model_wrote(result):
    page = write_report(result).read_text()
    written = sum(text["origin"] == "synthetic" for text in result.texts)
    assert page.count("SYNTHETIC, written by a model") >= written + 1 and f"{written:,} texts on this page" in page
    for heading in ("What was kept", "How well the filter filters", "What the texts say", "Pictures with their texts"):
        assert heading in page


def test_a_person_s_verdicts_say_what_was_kept_rightly(result, tmp_path):
    data = load_splits(result.config)["train"]
    path = write_pairs(tmp_path, result.texts, data, sample=10)
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10 and all((tmp_path / row["image"]).is_file() for row in rows)
    path.write_text(path.read_text(encoding="utf-8-sig").replace(",strata-", "match,strata-", 1))
    assert read_pairs(path, result.texts)["kept_match"]["value"] == 1
    middle = sorted(text["match"] for text in result.texts)[len(result.texts) // 2]
    otherwise = [dict(text) | {"kept": text["match"] >= middle} for text in result.texts]
    with pytest.raises(InputError, match="was drawn when other texts were kept: threshold, filter or data"):
        read_pairs(path, otherwise)
    path.write_text(path.read_text().replace("match,strata-", ",strata-"))
    texts = {text["id"]: text for text in result.texts}
    assert all(row["origin"] == texts[row["id"]]["origin"] and "match" not in row for row in rows)
    with pytest.raises(InputError, match="no verdict yet"):
        read_pairs(path, result.texts)
    verdicts = ["match"] * 6 + ["partly"] * 2 + ["wrong"] * 2
    lines = [f"{row['id']};{verdict}" for row, verdict in zip(rows, verdicts, strict=True)]
    path.write_text("\n".join(["id;verdict", *lines]))
    shares = read_pairs(path, result.texts)
    assert shares["kept_match"]["value"] == 0.6 and shares["kept_match_or_partly"]["value"] == 0.8
    assert shares["dropped_match"]["value"] is None
    lines = [f"{rows[0]['id']};match;{rows[0]['image']}", f"{rows[1]['id']};wrong;{rows[1]['image']}"]
    path.write_text("\n".join(["id;verdict;image", *lines]))
    assert read_pairs(path, result.texts)["kept_match"]["value"] == 0.5
    other = [dict(text) | ({"image_id": "0" * 16} if text["id"] == rows[1]["id"] else {}) for text in result.texts]
    with pytest.raises(InputError, match=rf"row 3: the verdict on '{rows[1]['id']}' is about another picture"):
        read_pairs(path, other)
    path.write_text("\n".join(["id;verdict", f"{rows[0]['id']};perhaps"]))
    with pytest.raises(InputError, match=r"'perhaps' on .* is none of match, partly, wrong"):
        read_pairs(path, result.texts)


def test_a_measure_of_the_filter_that_no_text_counts_for_is_no_line():
    """Before, the recall of written texts of which none is right was a line of dashes."""
    nothing = {"value": None, "n": 0, "groups": 0, "low": None, "high": None}
    one = {"value": 0.25, "n": 8, "groups": 4, "low": 0.1, "high": 0.6}
    shown = filter_table({"filter": {"synthetic": {"precision": one, "recall": nothing}}})
    assert "precision" in shown and "recall" not in shown


def test_a_table_without_a_row_says_so():
    """Of own data, whose right texts nobody knows, notebook 08 showed two heads and nothing below them."""
    for empty in (filter_table({}), fault_table({})):
        assert empty.count("nothing to show") == 1 and "<thead>" in empty
