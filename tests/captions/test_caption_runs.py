"""A tiny run on captions, from training to metrics; killed and gone on with; with adapters."""

import json

import numpy as np
import pytest
import torch
from conftest import TINY
from same_run import assert_same_run, in_two_processes, losses

from blipvqa import answer_all, ask, describe, evaluate, fine_tune, load_config, load_model, load_splits
from blipvqa.captions import predictions
from blipvqa.captions.batches import CaptionCollator
from blipvqa.captions.predictions import Describer, predict, replace_prompt
from blipvqa.config.knobs import ConfigError
from blipvqa.config.reading import with_overrides
from blipvqa.data.images import ImageError
from blipvqa.errors import InputError
from blipvqa.models.folders import ModelError
from blipvqa.page.serving import serve
from blipvqa.page.widget import AskWidget
from blipvqa.runs.run import Run, RunError


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(root, config) of a tiny run on captions, trained and evaluated. Read only."""
    folder = tmp_path_factory.mktemp("captions")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLIPVQA_ROOT", str(folder))
        config = load_config(None, TINY | {"task": "caption", "train.epochs": 8, "caption.max_length": 40}, "tiny")
        fine_tune(config)
        evaluate(config, progress=False, resamples=50)
    return folder, config


@pytest.fixture
def root_of_run(trained):
    return trained[0]


@pytest.fixture
def run(trained, monkeypatch):
    monkeypatch.setenv("BLIPVQA_ROOT", str(trained[0]))
    return Run(trained[1].folder)


def test_training_learns_and_leaves_what_every_run_leaves(run):
    epochs = [row for row in run.history if row["type"] == "epoch"]
    assert epochs[-1]["loss"] < epochs[0]["loss"] - 1
    assert {"cider_d", "bleu_4", "terms_recalled"} <= epochs[-1].keys()
    assert run.finished and run.config.train.metric == "cider_d" and run.config.train.loss == "token_mean"
    sample = run.samples[0]
    assert sample["epoch"] == 0 and len(sample["references"]) == 2 and sample["prediction"] is not None


def test_a_picture_is_described_once_and_its_rows_are_the_references(run):
    data = load_splits(run.config)["test"]
    predictions = run.predictions("test")
    assert len(predictions) == 6 == len(data) // 2
    for prediction, row, other in zip(predictions, data.rows[::2], data.rows[1::2], strict=True):
        assert prediction["id"] == row["id"] and prediction["references"] == [row["caption"], other["caption"]]
        assert prediction["score"] < 0 < prediction["confidence"] < 1 and prediction["stain"] == row["stain"]


def test_metrics_hold_numbers_intervals_and_what_needs_no_picture(run):
    scores = run.metrics("test")
    assert scores["overall"]["cider_d"]["n"] == 6
    assert scores["overall"]["bleu_1"]["low"] <= scores["overall"]["bleu_1"]["value"]
    assert scores["baseline_caption"] and scores["baseline"]["bleu_1"]["value"] > 0
    assert scores["nearest"]["cider_d"]["n"] == scores["above_nearest"]["n"] == 6
    assert {"exchanged", "needs_picture", "start", "by"} <= scores.keys() and "stain" in scores["by"]
    assert scores["start"]["bleu_1"]["value"] < scores["overall"]["bleu_1"]["value"]


def test_evaluating_again_writes_no_caption_again(run, monkeypatch):
    monkeypatch.setattr("blipvqa.captions.evaluation.predict", lambda *_: pytest.fail("asked again"))
    before = (run.folder / "predictions-test.jsonl").read_bytes()
    evaluate(run.config, progress=False, resamples=50)
    assert (run.folder / "predictions-test.jsonl").read_bytes() == before


def test_answers_in_another_precision_are_not_those_that_are_stored(run, monkeypatch):
    """They were used again whatever `generate.precision` said, and the scores called them by it."""
    monkeypatch.setattr("blipvqa.captions.evaluation.predict", lambda *_: pytest.fail("asked anew"))
    with pytest.raises(pytest.fail.Exception, match="asked anew"):
        evaluate(with_overrides(run.config.as_dict(), {"generate.precision": "bf16"}), progress=False, resamples=50)


def test_a_caption_does_not_depend_on_its_batch_nor_a_drawn_one(run):
    model, processor = load_model(str(run.model_folder), run.config)
    data = load_splits(run.config)["test"]
    for sample in (False, True):
        config = run.config.model_copy(update={"caption": run.config.caption.model_copy(update={"sample": sample})})
        alone = config.model_copy(update={"generate": config.generate.model_copy(update={"batch_size": 1})})
        together, one_by_one = (predict(model, processor, data, c, progress=False) for c in (config, alone))
        assert [row["prediction"] for row in together] == [row["prediction"] for row in one_by_one]


def test_one_s_own_picture_is_described_with_a_look_for_each_word(run):
    model, processor = load_model(str(run.model_folder), run.config)
    picture = load_splits(run.config)["test"].image(0)
    caption = describe(model, processor, picture, settings=run.config.caption)
    assert caption.caption == run.predictions("test")[0]["prediction"]
    assert " ".join(word for word, _ in caption.looks) == caption.caption
    assert all(look.shape == (4, 4) for _, look in caption.looks)
    assert max(look.max().item() for _, look in caption.looks) == pytest.approx(1)
    assert describe(model, processor, picture, prompt="dense", settings=run.config.caption).caption


def test_describe_takes_a_picture_in_every_form_and_lists_of_them(run, tmp_path):
    model, processor = load_model(str(run.model_folder), run.config)
    picture = load_splits(run.config)["test"].image(0)
    picture.save(tmp_path / "own.png")
    forms = [tmp_path / "own.png", str(tmp_path / "own.png"), (tmp_path / "own.png").read_bytes(), np.array(picture)]
    captions = describe(model, processor, [*forms, picture], settings=run.config.caption)
    assert {caption.caption for caption in captions} == {run.predictions("test")[0]["prediction"]} and len(
        captions
    ) == 5
    assert describe(model, processor, []) == []
    (tmp_path / "own.png").write_text("no picture")
    with pytest.raises(ImageError, match=r"own\.png"):
        describe(model, processor, tmp_path / "own.png")
    with pytest.raises(FileNotFoundError):
        describe(model, processor, tmp_path / "nowhere.png")


def test_each_task_s_functions_refuse_the_other_s_model(run, tiny, tmp_path):
    captioner, processor = load_model(str(run.model_folder), run.config)
    answerer, other = load_model("scratch", tiny(), texts=["is it dense?", "yes"])
    picture = np.zeros((32, 32, 3), dtype=np.uint8)
    with pytest.raises(ModelError, match="describe needs a model for captions, found one for question answering"):
        describe(answerer, other, picture)
    with pytest.raises(ModelError, match="ask needs a model for question answering, found one for captions"):
        ask(captioner, processor, picture, "is it dense?")


def test_answers_and_the_page_refuse_a_run_on_captions(run, root_of_run):
    (root_of_run / "own.csv").write_text("image,question\na.png,what?\n")
    line = "run 'tiny' is of task caption, expected vqa: name a run whose config says task: vqa; describe captions"
    for refused in (
        lambda: answer_all(run.config, "own.csv", "answers.csv"),
        lambda: serve(run.config),
        lambda: AskWidget(run),
    ):
        with pytest.raises(RunError, match=line) as error:
            refused()
        assert "\n" not in str(error.value)
    assert not (root_of_run / "answers.csv").exists()


@pytest.mark.slow  # a minute; retrieval has it among the fast ones
def test_two_processes_give_the_curve_of_one(root):
    """Batches of 10 captions of 3 a picture: a picture's captions may lie in both processes."""
    settings = {"task": "caption", "train.batch_size": 10, "train.questions_per_image": 3, "train.epochs": 1}
    one = fine_tune(load_config(None, TINY | settings, "one"))
    two = in_two_processes(root, TINY | settings)
    assert two.environment["processes"] == 2
    assert losses(two) == pytest.approx(losses(one), rel=1e-4)
    for a, b in zip(one.history, two.history, strict=True):
        assert a["type"] == b["type"] and a["loss"] == pytest.approx(b["loss"], rel=1e-4)
        assert a.get("cider_d") == pytest.approx(b.get("cider_d"), abs=1e-6)


def test_a_killed_run_goes_on_bit_for_bit(tiny):
    whole = fine_tune(tiny("whole", task="caption"))
    assert not fine_tune(tiny("parts", task="caption", train__max_minutes=1e-9)).finished
    parts = fine_tune(tiny("parts", task="caption"))
    assert_same_run(whole, parts)


def test_adapters_train_a_captioner_and_are_merged_into_its_export(tiny):
    config = tiny(task="caption", model__lora={"rank": 2}, train__epochs=1)
    model, _ = load_model(str(fine_tune(config).model_folder))
    assert not any("lora" in name for name in model.state_dict())
    with pytest.raises(ConfigError, match="this model has no text_encoder, only vision_model, text_decoder"):
        fine_tune(tiny("none", task="caption", model__lora={"rank": 2, "towers": ["text_encoder"]}))


def test_a_step_does_not_depend_on_how_it_is_cut(tiny):
    losses = {}
    for name, micro in (("whole", None), ("cut", 6)):
        run = fine_tune(tiny(name, task="caption", train__micro_batch_size=micro, train__epochs=1))
        losses[name] = [row["loss"] for row in run.history if row["type"] == "step"]
    assert losses["cut"] == pytest.approx(losses["whole"], rel=1e-4)


def test_the_prompt_and_padding_are_never_scored_and_long_captions_are_counted(run):
    _, processor = load_model(str(run.model_folder))
    settings = run.config.caption.model_copy(update={"max_words": 4, "max_tokens": 24})
    collator = CaptionCollator(processor, settings)
    texts = ("Dense.", "tissue in silver stain with pigment")
    rows = [{"caption": text, "image_id": "a", "pixels": torch.zeros(3, 8, 8)} for text in texts]
    batch = collator(rows)
    assert batch["pixel_values"].shape[0] == 1 and batch["image_index"].tolist() == [0, 0]
    assert (batch["input_ids"][:, 0] == processor.tokenizer.bos_token_id).all()
    scored = [ids[labels != -100] for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True)]
    assert [processor.tokenizer.decode(ids) for ids in scored] == ["dense [SEP]", "tissue in silver stain [SEP]"]
    assert collator.count_cut(rows) == {"caption": 1}


def test_the_card_says_what_the_numbers_are_of(run):
    card = (run.model_folder / "README.md").read_text()
    assert "pipeline_tag: image-to-text" in card and "CIDEr-D" in card and "commonest caption" in card
    architectures = json.loads((run.model_folder / "config.json").read_text())["architectures"]
    assert architectures == ["BlipForConditionalGeneration"]


def test_describe_goes_on_from_any_prompt_and_from_none(run):
    """None is the settings' prompt; "" is none at all; a space, capitals and a dot make no other caption."""
    model, processor = load_model(str(run.model_folder), run.config)
    pictures = [load_splits(run.config)["test"].image(i) for i in (0, 2)]
    settings = run.config.caption
    by_default = [one.caption for one in describe(model, processor, pictures, settings=settings)]
    assert by_default == [one.caption for one in describe(model, processor, pictures, settings.prompt, settings)]
    bare = describe(model, processor, pictures, "", settings)
    assert len(bare) == 2 and [one.caption for one in bare] == [
        one.caption for one in describe(model, processor, pictures, settings=replace_prompt(settings, ""))
    ]
    assert all(" ".join(word for word, _ in one.looks) == one.caption for one in bare)
    assert (
        describe(model, processor, pictures[0], "  A Picture Of ", settings).caption
        == describe(model, processor, pictures[0], "a picture of", settings).caption
    )


def test_describe_goes_by_the_run_s_own_settings(tiny, monkeypatch):
    """The prompt it was trained behind, and its lengths: by the defaults another model was asked than was trained."""
    own = {"caption__prompt": "", "caption__num_beams": 1, "caption__max_length": 9, "caption__min_length": 0}
    run = fine_tune(tiny("bare", task="caption", train__epochs=1, **own))
    model, processor = load_model(str(run.model_folder))
    asked = []
    monkeypatch.setattr(predictions, "Describer", lambda *args: asked.append(args[2]) or Describer(*args))
    picture = load_splits(run.config)["test"].image(0)
    assert (
        describe(model, processor, picture).caption
        == describe(model, processor, picture, None, run.config.caption).caption
    )
    assert (asked[0].prompt, asked[0].num_beams, asked[0].max_length, asked[0].min_length) == ("", 1, 9, 0)
    model.folder, model.config.own_settings = None, {"num_beams": 0}  # elsewhere config.json is all there is
    with pytest.raises(ModelError, match=r"config\.json of the model: own_settings num_beams"):
        describe(model, processor, picture)


def test_a_prompt_that_leaves_no_room_is_refused_in_words(run):
    model, processor = load_model(str(run.model_folder), run.config)
    picture = load_splits(run.config)["test"].image(0)
    with pytest.raises(InputError, match=r"caption.max_length 40 leaves no room after .* 60 tokens"):
        describe(model, processor, picture, "tissue " * 60, run.config.caption.model_copy(update={"max_length": 40}))
    with pytest.raises(InputError, match=r"caption.max_tokens 4 leaves no room after .* the prompt 'a picture of '"):
        CaptionCollator(processor, run.config.caption.model_copy(update={"prompt": "a picture of ", "max_tokens": 4}))
    tokens = len(processor.tokenizer("a picture of ", add_special_tokens=False)["input_ids"])
    nothing = {"prompt": "a picture of ", "max_tokens": tokens + 2}  # [DEC], the prompt, and [SEP]
    with pytest.raises(InputError, match="leaves no room"):
        CaptionCollator(processor, run.config.caption.model_copy(update=nothing))
    assert describe(model, processor, picture, "tissue \ud800").caption is not None  # half a character


def test_more_beams_than_the_vocabulary_has_tokens_for_are_refused_in_words(run):
    model, processor = load_model(str(run.model_folder), run.config)
    picture, most = load_splits(run.config)["test"].image(0), model.config.text_config.vocab_size // 2
    caption = run.config.caption.model_copy(update={"num_beams": most})
    assert describe(model, processor, picture, settings=caption).confidence > 0
    with pytest.raises(InputError, match=f"{most + 1} beams need .* set num_beams to {most} or fewer"):
        describe(model, processor, picture, settings=caption.model_copy(update={"num_beams": most + 1}))


def test_a_caption_that_is_the_prompt_or_nothing_has_a_loss_of_its_end_alone(run):
    """Of a batch with captions of other lengths, one of them cut: only [SEP] is scored where nothing is left."""
    model, processor = load_model(str(run.model_folder), run.config)
    settings = run.config.caption.model_copy(update={"prompt": "dense tissue", "max_tokens": 8})
    texts = ("", "...", "dense tissue", "sparse", "sparse tissue in silver stain with pigment and fat")
    rows = [{"caption": text, "image_id": text, "pixels": torch.zeros(3, 32, 32)} for text in texts]
    batch = CaptionCollator(processor, settings)(rows)
    end = processor.tokenizer.sep_token_id
    scored = [row[row != -100].tolist() for row in batch["labels"]]
    assert scored[0] == scored[1] == [end] and scored[2][-1] == scored[3][-1] == end
    assert len(scored[4]) == 8 - 1 - 2  # [DEC] and the prompt
    with torch.no_grad():
        losses = model.eval()(**batch).loss_per_caption
        alone = [model(**CaptionCollator(processor, settings)([row])).loss_per_caption for row in rows]
    assert losses.isfinite().all() and losses.tolist() == pytest.approx(torch.cat(alone).tolist(), abs=1e-4)
    assert (losses[2:] > losses[0]).all()
    assert CaptionCollator(processor, settings).count_cut(rows) == {"caption": 1}


def test_a_caption_that_is_cut_off_says_so(run):
    """A limit below what the model writes cut captions in the middle of a sentence, unsaid."""
    model, processor = load_model(str(run.model_folder), run.config)
    data, drawn = load_splits(run.config)["test"], {"caption.sample": True, "caption.top_k": None}
    whole = with_overrides(run.config.as_dict(), drawn | {"caption.max_length": 120})
    ended = [row for row in predict(model, processor, data, whole, progress=False) if not row["unfinished"]]
    assert ended
    image = data.image(data.index(ended[0]["id"]))
    short = with_overrides(run.config.as_dict(), {"caption.max_length": 8})
    cut = describe(model, processor, image, settings=short.caption)
    assert cut.unfinished and str(cut).startswith(f"{cut.caption} … (")
    assert all(row["unfinished"] for row in predict(model, processor, data, short, progress=False))
