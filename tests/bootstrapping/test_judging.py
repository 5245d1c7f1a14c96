"""How well a text fits, where captioners judge beside the filters: their numbers, what is kept by them, what is told."""

import math

import numpy as np
import pytest
import torch
from test_capfilt import IMAGES, small
from test_stages import pre_trained, quick, run

from blipvqa import load_splits
from blipvqa.bootstrapping import judging, rounds
from blipvqa.bootstrapping.figures import plot_matches
from blipvqa.bootstrapping.members import Member
from blipvqa.bootstrapping.report import write_report
from blipvqa.bootstrapping.scores import score
from blipvqa.bootstrapping.stages import clean_config, plan
from blipvqa.bootstrapping.tables import judge_table
from blipvqa.captions.batches import collator_for
from blipvqa.config.knobs import ConfigError
from blipvqa.runs.files import read_lines
from blipvqa.runs.run import RunError

BOTH = {"bootstrap__judge": "both", "bootstrap__wished_recall": 0.5}


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
    assert judging.together(0.0, 0.8, 3)["match"] == 0
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


def test_a_wished_recall_is_that_of_the_right_clean_pairs(both):
    threshold = both.rounds[0]["threshold"]
    pairs, said = (
        read_lines(both.config.folder / "answers" / f"round1-validation-{name}.jsonl")
        for name in ("pairs", "match-0-part0")
    )
    words = [
        read_lines(both.config.folder / "answers" / f"round1-validation-likelihood-{n}-part0.jsonl") for n in (0, 1)
    ]
    right = sorted(
        judging.together(of_filter["match"], judging.mean_of(of_captioners, "likelihood"), of_captioners[0]["tokens"])[
            "match"
        ]
        for pair, of_filter, of_captioners in zip(pairs, said, zip(*words, strict=True), strict=True)
        if pair["right"]
    )
    assert len(right) == 2 * IMAGES["validation"]
    assert sum(match >= threshold for match in right) >= len(right) / 2 > sum(match > threshold for match in right)
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
    assert axes.get_xlabel() == "match: the mean of ITM's and the words' probabilities"


def test_nothing_is_judged_twice_and_a_filter_alone_is_as_before(both, monkeypatch):
    for name in ("match_pairs", "likelihoods"):
        monkeypatch.setattr(judging, name, lambda *_: pytest.fail("judged again"))
    assert run(both.config).texts == both.texts
    monkeypatch.undo()


def test_what_the_captioner_reads_of_a_text_is_counted(both):
    clean = load_splits(clean_config(both.config))
    one = plan(both.config)[0]
    filters, writers = [Member(one.filters[0], clean)], [Member(one.writing[0], clean)]
    long = " ".join(["dense tissue"] * 14)  # 28 words: the filter reads 35 tokens, the captioner 40 with its prompt
    assert [member.longer_than_read([long, "dense tissue"]) for member in filters + writers] == [0, 0]
    writers[0].config = writers[0].config.model_copy(
        update={"caption": writers[0].config.caption.model_copy(update={"max_words": 20})}
    )
    assert judging.Judges(filters, writers).longer_than_read([long, "dense tissue"]) == 1
    assert judging.Judges(filters).longer_than_read([long, "dense tissue"]) == 0
    (said,) = (line for line in score(both.texts, longer=1)["warnings"] if "longer than" in line)
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


def test_too_few_pairs_for_a_recall_are_refused_before_anything_is_trained(root, start, monkeypatch):
    monkeypatch.setattr(rounds, "run_stage", lambda stage: pytest.fail(f"{stage.name} was trained"))
    few = {"synthetic": {"images": IMAGES | {"validation": 2}, "size": 48, "seed": 1}}
    with pytest.raises(RunError, match=r"bootstrap\.wished_recall 1\.0: .* 10 pairs or more .* has 4 right ones"):
        run(quick(start, bootstrap__judge="both", bootstrap__wished_recall=1.0, bootstrap__clean=few))


def test_a_filter_without_captioners_says_what_it_said(root, start):
    """`judge: matching`: a text has no further column, and no table of judges is shown."""
    result = run(quick(start, bootstrap__wished_recall=1.0))
    assert not any({"matching", "likelihood"} & text.keys() for text in result.texts)
    scores = result.rounds[0]["scores"]
    assert "judges" not in scores and math.isfinite(scores["filter"]["web"]["auroc"]["value"])
    assert "judged by" not in write_report(result).read_text()
