"""How well a text fits, where captioners judge beside the filters: their numbers, what is kept by them, what is told."""

import gc
import math
import weakref

import numpy as np
import pytest
import torch
from test_capfilt import IMAGES, small
from test_stages import pre_trained, quick, run

from blipvqa import load_splits
from blipvqa.bootstrapping import judging, pictures, rounds
from blipvqa.bootstrapping.figures import plot_matches
from blipvqa.bootstrapping.members import Member
from blipvqa.bootstrapping.report import write_report
from blipvqa.bootstrapping.scores import score
from blipvqa.bootstrapping.stages import clean_config, plan, run_stage
from blipvqa.bootstrapping.tables import judge_table
from blipvqa.bootstrapping.thresholds import keeps_more
from blipvqa.captions.batches import collator_for
from blipvqa.config.knobs import ConfigError
from blipvqa.runs.files import read_lines
from blipvqa.runs.run import RunError
from blipvqa.training.stored import ModelsOfRun

BOTH = {"bootstrap__judge": "both", "bootstrap__wished_recall": 0.8}


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """The export of a pre-trained model. Read only."""
    return pre_trained(tmp_path_factory.mktemp("start"))


@pytest.fixture(scope="module")
def judged(tmp_path_factory, start):
    """(root, what `bootstrap` returns) of a round with both judges. Read only."""
    folder = tmp_path_factory.mktemp("both")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLIPVQA_ROOT", str(folder))
        return folder, run(quick(start, **BOTH, bootstrap__captioners=2, bootstrap__captioner={"train.batch_size": 8}))


@pytest.fixture
def both(judged, monkeypatch):
    monkeypatch.setenv("BLIPVQA_ROOT", str(judged[0]))
    return judged[1]


def test_a_likelihood_is_the_mean_of_what_the_captioner_gives_each_word(both):
    """Token by token through the captioner's own forward pass; pairs come in any order, a picture's texts apart."""
    config, data = both.config, both.data["train"]
    writing = plan(config)[0].writing[0]
    one = Member(writing, load_splits(clean_config(config)))
    rows = [0, 5, 1, 9, 0]
    pairs = [(data.rows[i]["image_id"], data.rows[j]["caption"]) for i, j in zip(rows, [0, 5, 1, 3, 12], strict=True)]
    said = judging.likelihoods(one, data, pairs, progress=False)
    model, processor = one.models.load()
    collate, pictures = collator_for(processor, writing), one.pictures(data)
    for (image_id, caption), i, of_pair in zip(pairs, rows, said, strict=True):
        item = {"image_id": image_id, "caption": caption, "pixels": pictures.pixels(i)}
        batch = collate([item])
        names = ("input_ids", "attention_mask", "pixel_values", "labels")
        with torch.no_grad():
            logits = model.eval()(**{name: batch[name] for name in names}).logits
        targets = batch["labels"][batch["labels"] != -100]
        probable = logits.softmax(-1).gather(1, targets[:, None])
        assert of_pair["tokens"] == len(targets) and targets[-1] == processor.tokenizer.sep_token_id
        assert of_pair["likelihood"] == pytest.approx(probable.log().mean().exp().item(), abs=2e-6)


def test_a_match_is_one_mean_of_words_and_of_itm(both):
    assert judging.together(0.5, 0.8, 3) == {
        "match": pytest.approx((0.5 * 0.8**3) ** (1 / 4), abs=1e-6),
        "matching": 0.5,
        "likelihood": 0.8,
    }
    for text in both.texts:
        low, high = sorted((text["matching"], text["likelihood"]))
        assert low - 1e-6 <= text["match"] <= high + 1e-6
    answers = both.config.folder / "answers"
    of_each = [
        [row["likelihood"] for row in read_lines(answers / f"round1-likelihood-{n}-part0.jsonl")] for n in (0, 1)
    ]
    assert of_each[0] != of_each[1]
    mean = [text["likelihood"] for text in both.texts]
    assert np.allclose(mean, np.mean(of_each, axis=0), atol=1e-6)


def test_a_long_text_and_a_filter_that_is_sure_of_no_match_have_a_number():
    """A product over 400 tokens is 0 to a computer, and so was the match; a probability that rounds to 0 was a veto."""
    assert judging.together(0.5, 0.15, 400)["match"] == pytest.approx(0.15, abs=1e-3)
    surely_not = judging.together(0.0, 0.8, 30)
    assert surely_not["matching"] == 0 and surely_not["match"] == pytest.approx((5e-7 * 0.8**30) ** (1 / 31), abs=1e-6)
    assert judging.together(1e-6, 0.8, 30)["match"] > surely_not["match"] > 0.5
    assert judging.together(0.9, 0.0, 3)["match"] < 1e-4


def test_a_wished_recall_is_that_of_the_right_clean_pairs(both):
    threshold, answers = both.rounds[0]["threshold"], both.config.folder / "answers"
    names = ("0", "likelihood-0", "likelihood-1")
    said, *words = (read_lines(answers / f"round1-validation-{name}.jsonl") for name in names)
    right = [
        judging.together(of_filter["match"], judging.mean_of(of_captioners, "likelihood"), of_captioners[0]["tokens"])[
            "match"
        ]
        for of_filter, of_captioners in zip(said, zip(*words, strict=True), strict=True)
    ]
    assert len(right) == 2 * IMAGES["validation"]  # no wrong pair is made and judged
    wished = 0.8 * len(right)
    assert sum(match >= threshold for match in right) >= wished > sum(match > threshold for match in right)
    assert {text["kept"] for text in both.texts} == {True, False}
    assert all(text["kept"] == (text["match"] >= threshold) for text in both.texts)


def test_each_judge_is_measured_alone_too(both):
    scores = both.rounds[0]["scores"]
    assert set(scores["judges"]["web"]) == {"matching", "likelihood", "both"}
    of_both, of_all = scores["judges"]["web"]["both"], scores["filter"]["web"]
    assert all(of_both[name] == of_all[name] for name in ("auroc", "precision_at_recall"))
    assert scores["judges"]["web"]["matching"] != of_both
    assert judge_table(scores) in write_report(both).read_text()
    card = (both.folder / "README.md").read_text()
    assert "the geometric mean of the filter's probability of a match and of the captioner's of each token" in card
    (axes, *_) = plot_matches(both.texts, 0.5).axes
    assert axes.get_xlabel() == "match, by ITM and by words"


def test_a_match_that_is_no_probability_stands_in_no_page_as_percent(both):
    text = both.texts[0] | {"match": 0.634, "matching": 0.41, "likelihood": 0.802}
    assert "match 0.634 (matching 41%, likelihood 0.802)" in pictures.text_line(text)
    alone = {name: value for name, value in text.items() if name not in ("matching", "likelihood")}
    assert "match 63% ·" in pictures.text_line(alone)


def test_a_captioner_that_pre_training_taught_reads_what_it_learnt_of_a_text(root):
    """It was asked for the words up to `caption.max_words`, and for an end there that it never learnt."""
    limits = {"queue": 64, "momentum": 0.9, "rerank": 0, "max_words": 50, "max_tokens": 70}
    (one,) = plan(small(**BOTH, retrieval=limits, bootstrap__shared=True, caption__prompt="a photo of"))
    (writing,) = one.writing
    assert (writing.caption.max_words, writing.caption.max_tokens, writing.caption.prompt) == (50, 70, "")
    (one,) = plan(small(**BOTH, retrieval=limits, caption__prompt="a photo of"))
    assert (one.writing[0].caption.max_words, one.writing[0].caption.prompt) == (30, "a photo of")


def test_one_model_at_a_time_is_in_memory(root, start, monkeypatch):
    models, real = [], ModelsOfRun.load

    def load(self, *arguments):
        model = real(self, *arguments)
        models.append(weakref.ref(model[0]))
        gc.collect()
        assert len({id(one()) for one in models if one() is not None}) == 1
        return model

    monkeypatch.setattr(ModelsOfRun, "load", load)
    trained = []
    monkeypatch.setattr(rounds, "run_stage", lambda stage: trained.append(left()) or run_stage(stage))

    def left():
        gc.collect()
        return sum(one() is not None for one in models)

    run(quick(start, **BOTH))
    assert len(models) >= 5 and trained[-1] == 0  # before the pre-training anew


def test_nothing_is_judged_twice(both, monkeypatch):
    for name in ("match_pairs", "likelihoods"):
        monkeypatch.setattr(judging, name, lambda *_: pytest.fail("judged again"))
    assert run(both.config).texts == both.texts


def test_a_kill_between_judges_costs_no_verdict_and_other_reading_is_judged_anew(both, tmp_path, monkeypatch):
    clean, one = load_splits(clean_config(both.config)), plan(both.config)[0]
    judges = judging.Judges([Member(one.filters[0], clean)], [Member(one.writing[0], clean)])
    data = both.data["train"]
    pairs = [(row["image_id"], row["caption"]) for row in data.rows[:4]]
    calls, real = [], {name: getattr(judging, name) for name in ("match_pairs", "likelihoods")}

    def judge():
        return judges([(data, pairs)], tmp_path, lambda *name: "-".join(map(str, name)), False)

    def noted(name):
        return lambda *arguments: calls.append(name) or real[name](*arguments)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(judging, "match_pairs", noted("match_pairs"))
    monkeypatch.setattr(judging, "likelihoods", killed)
    with pytest.raises(KeyboardInterrupt):
        judge()
    monkeypatch.setattr(judging, "likelihoods", noted("likelihoods"))
    (first,), (again,) = judge(), judge()
    assert calls == ["match_pairs", "likelihoods"] and first == again
    caption = one.writing[0].caption
    for change in ({"max_words": 2}, {"max_tokens": 12}, {"prompt": "a photo of"}):
        judges.captioners[0].config = one.writing[0].model_copy(update={"caption": caption.model_copy(update=change)})
        (other,) = judge()
        assert calls.pop() == "likelihoods" and other != first


def test_what_captioner_or_filter_reads_of_a_text_is_counted(both):
    clean, one = load_splits(clean_config(both.config)), plan(both.config)[0]
    filters, writers = [Member(one.filters[0], clean)], [Member(one.writing[0], clean)]
    texts = [
        " ".join(["dense tissue"] * 14),
        "dense tissue",
        "-" * 39,
    ]  # 28 words; 39 tokens, of which a filter reads 33
    assert filters[0].reads_in_part(texts) == [False, False, True]
    assert writers[0].reads_in_part(texts) == [False, False, True]
    shorter = writers[0].config.caption.model_copy(update={"max_words": 20, "max_tokens": 60})
    writers[0].config = writers[0].config.model_copy(update={"caption": shorter})
    assert writers[0].reads_in_part(texts) == [True, False, False]
    assert judging.Judges(filters, writers).longer_than_read(texts) == 2  # either of them, not the worse of both
    assert judging.Judges(filters).longer_than_read(texts) == 1
    (said,) = (line for line in score(both.texts, longer=2)["warnings"] if "longer than" in line)
    assert "longer than filter or captioner read (retrieval. and caption.max_words, max_tokens)" in said


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"bootstrap__judge": "both"}, "let wished_recall, the share of right texts to keep"),
        ({**BOTH, "bootstrap__wished_precision": 0.9}, "wished_precision and wished_recall both choose"),
        ({"bootstrap__wished_recall": 1.5}, r"bootstrap\.wished_recall"),
    ],
)
def test_impossible_judges_are_refused(root, wrong, message):
    with pytest.raises(ConfigError, match=message):
        small(**wrong)


@pytest.mark.parametrize(
    ("recall", "images", "message"),
    [
        (1.0, 2, r"1\.0: .* 10 pairs or more .* has 4 right ones, of which 4 would be: give bootstrap.clean more\.$"),
        (0.5, 6, r"0\.5: .* 10 pairs or more .* has 12 right ones, of which 6 would be"),
        (0.01, 6, r"0\.01: .* 10 pairs or more .* has 12 right ones, of which 1 would be"),
    ],
)
def test_too_few_pairs_for_a_recall_are_refused_before_anything_is_trained(
    root, start, monkeypatch, recall, images, message
):
    """A recall of 0.01 took the surest of a handful for its threshold, and kept next to nothing."""
    monkeypatch.setattr(rounds, "run_stage", lambda stage: pytest.fail(f"{stage.name} was trained"))
    few = {"synthetic": {"images": IMAGES | {"validation": images}, "size": 48, "seed": 1}}
    with pytest.raises(RunError, match=r"bootstrap\.wished_recall " + message):
        run(quick(start, bootstrap__judge="both", bootstrap__wished_recall=recall, bootstrap__clean=few))


def test_where_nothing_is_kept_the_wish_is_what_can_be_changed(root):
    wishes = {"wished_recall": "raise bootstrap.wished_recall", "wished_precision": "wish for less precision"}
    for name, advice in wishes.items():
        assert keeps_more(small(**{"bootstrap__judge": "both", f"bootstrap__{name}": 0.9})) == advice
    assert keeps_more(small()) == "lower bootstrap.threshold"


def test_a_filter_without_captioners_says_what_it_said(root, start):
    """`judge: matching`: a text has no further column, and no table of judges is shown."""
    result = run(quick(start, bootstrap__wished_recall=1.0))
    assert not any({"matching", "likelihood"} & text.keys() for text in result.texts)
    scores = result.rounds[0]["scores"]
    assert "judges" not in scores and math.isfinite(scores["filter"]["web"]["auroc"]["value"])
    assert "judged by" not in write_report(result).read_text()
