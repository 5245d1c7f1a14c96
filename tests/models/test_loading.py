"""Models: from scratch, at other image sizes, exported so that plain transformers gives our answers."""

import json

import pytest
import torch
from conftest import SHARED, needs_shared
from safetensors.torch import load_file
from transformers import BertTokenizer, BlipConfig, BlipForQuestionAnswering, BlipProcessor

from blipvqa import load_config, load_model, load_splits, save_model
from blipvqa.config.knobs import ConfigError
from blipvqa.models.adjust import resize_position_table
from blipvqa.models.classes import MODELS
from blipvqa.models.tokenizer import make_processor
from blipvqa.models.vqa import BlipForVQA
from blipvqa.vqa.batches import collator_for, prepare_question

PUBLISHED = SHARED / "reference" / "blip-vqa-base"


def plain_answers(folder, data, count):
    """What plain transformers says to the first questions of a split, one at a time."""
    processor, model = BlipProcessor.from_pretrained(folder), BlipForQuestionAnswering.from_pretrained(folder).eval()
    answers = []
    for i in range(count):
        inputs = processor(data.image(i), prepare_question(data.rows[i]["question"]), return_tensors="pt")
        answers.append(processor.decode(model.generate(**inputs)[0], skip_special_tokens=True))
    return answers


def test_the_export_answers_alike_in_plain_transformers(done):
    folder, data = done.folder / "model", load_splits(done)["test"]
    model, processor = load_model(str(folder), done)
    batch = collator_for(processor, done)(data.__getitems__(list(range(20))))
    ids = model.generate_answers(
        **{k: batch[k] for k in ("input_ids", "attention_mask", "pixel_values", "image_index")}, max_length=20
    )
    ours = processor.batch_decode(ids, skip_special_tokens=True)
    assert ours == plain_answers(folder, data, 20)
    assert len(set(ours)) > 1


def test_the_export_says_what_it_is(done):
    folder = done.folder / "model"
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["BlipForQuestionAnswering"]
    assert {t.dtype for t in load_file(folder / "model.safetensors").values()} == {torch.float32}
    tokenizer = BertTokenizer.from_pretrained(folder)
    assert tokenizer.convert_ids_to_tokens(tokenizer("vessel").input_ids)[0] == "[ENC]"
    card = (folder / "README.md").read_text()
    for part in ("no medical device", "synthetic", "exact match", "95 % interval", "max_length=42"):
        assert part in card
    assert "| picture blanked |" in card
    assert "imbalance: " in card
    assert str(done.folder.parent) not in card


def test_saving_and_loading_changes_no_weight(tiny, root):
    config = tiny()
    model, processor = load_model("scratch", config)
    again, _ = load_model(str(save_model(model, processor, root / "export")), config)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("model_class", MODELS, ids=lambda each: each.task)
@pytest.mark.parametrize("in_place", [False, True])
def test_a_weight_that_loading_changed_is_an_error(tiny, root, monkeypatch, model_class, in_place):
    """As some versions of transformers drew the embeddings anew that two towers share. In its place, what was read
    changed too: the two were one tensor."""
    config = tiny(task=model_class.task)
    folder = save_model(*load_model("scratch", config), root / "saved")
    load_model(str(folder), config)
    whole = model_class.from_pretrained

    def drawn_anew(*arguments, **options):
        model = whole(*arguments, **options)
        read = model.vision_model.embeddings.class_embedding
        if in_place:
            read.data.normal_()
        else:
            model.vision_model.embeddings.class_embedding = torch.nn.Parameter(torch.randn_like(read))
        return model

    monkeypatch.setattr(model_class, "from_pretrained", drawn_anew)
    with pytest.raises(
        RuntimeError, match=r"changed 1 weights while loading, vision_model\.embeddings\.class_embedding"
    ):
        load_model(str(folder), config)


def test_a_model_from_scratch_can_learn_to_see(tiny):
    model, processor = load_model("scratch", tiny())
    weights = [p for name, p in model.vision_model.named_parameters() if p.ndim > 1 and "class" not in name]
    assert all(p.std() > 0.01 for p in weights)  # the library's default, 1e-10, never learns
    assert processor.tokenizer("vessel").input_ids[1:-1] != [processor.tokenizer.unk_token_id]
    assert len(processor.tokenizer) == model.config.text_config.vocab_size
    same, _ = load_model("scratch", tiny())
    torch.testing.assert_close(same.state_dict(), model.state_dict(), rtol=0, atol=0)


def test_the_position_table_is_interpolated_and_kept(tiny, root):
    model, processor = load_model("scratch", tiny())
    save_model(model, processor, root / "export")
    before = model.vision_model.embeddings.position_embedding
    larger, processor = load_model(str(root / "export"), tiny(model__image_size=64, model__name=str(root / "export")))
    table = larger.vision_model.embeddings.position_embedding
    assert table.shape == (1, 65, 32)
    torch.testing.assert_close(table[:, 0], before[:, 0])
    assert (table[:, 1] - before[:, 1]).norm() < (table[:, 1] - before[:, -1]).norm()  # a corner stays that corner
    assert processor.image_processor.size["height"] == 64
    again, _ = load_model(str(save_model(larger, processor, root / "larger")))
    torch.testing.assert_close(again.vision_model.embeddings.position_embedding, table, rtol=0, atol=0)
    assert again.config.vision_config.image_size == 64
    with pytest.raises(ConfigError, match="multiple"):
        resize_position_table(again, 60)


def test_label_smoothing_and_dropout_arrive_in_the_model(tiny, root):
    model, processor = load_model("scratch", tiny(train__label_smoothing=0.2, model__text_dropout=0.3))
    assert model.text_decoder.label_smoothing == 0.2
    assert {m.p for m in model.text_encoder.modules() if isinstance(m, torch.nn.Dropout)} == {0.3}
    save_model(model, processor, root / "export")
    other, _ = load_model(str(root / "export"), tiny(train__label_smoothing=0.0))
    assert other.text_decoder.label_smoothing == 0.0


@pytest.mark.parametrize("name", ["nowhere", "./nowhere", "/no/where", "outputs"])
def test_a_model_that_is_not_there_is_said(root, name):
    (root / "outputs").mkdir()
    with pytest.raises(ConfigError, match="model"):
        load_model(name)


def test_pickled_weights_are_not_loaded(done, tmp_path):
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        if (done.folder / "model" / name).exists():
            (tmp_path / name).write_bytes((done.folder / "model" / name).read_bytes())
    torch.save(load_file(done.folder / "model" / "model.safetensors"), tmp_path / "pytorch_model.bin")
    with pytest.raises((OSError, ConfigError)):
        load_model(str(tmp_path))


@needs_shared("reference/blip-vqa-base")
def test_the_published_tokenizer_gets_its_start_tokens(tmp_path):
    processor = make_processor(BertTokenizer.from_pretrained(PUBLISHED), 384)
    processor.save_pretrained(tmp_path)
    for tokenizer in (
        processor.tokenizer,
        BertTokenizer.from_pretrained(tmp_path),
        BlipProcessor.from_pretrained(tmp_path).tokenizer,
    ):
        ids = tokenizer("is there necrosis?").input_ids
        assert (tokenizer.bos_token_id, tokenizer.cls_token_id, ids[0], ids[-1]) == (30522, 30523, 30523, 102)


@pytest.mark.slow
@needs_shared("reference/blip-vqa-base")
def test_rehearsal_at_full_size(root, tiny):
    """The published folder with random weights: loaded, two steps at 384 px, exported, reloaded, asked."""
    from blipvqa import Run, evaluate, fine_tune

    source = root / "blip-vqa-base"
    source.mkdir()
    for path in PUBLISHED.iterdir():
        (source / path.name).write_bytes(path.read_bytes())
    torch.manual_seed(0)
    published = BlipConfig.from_pretrained(source)
    published.vision_config.initializer_range = 0.02
    weights = BlipForVQA(published)
    assert sum(p.numel() for p in weights.parameters()) == pytest.approx(361e6, rel=0.07)
    weights.save_pretrained(source)
    del weights
    config = load_config(
        None,
        {
            "data.synthetic": {"images": {"train": 2, "validation": 1, "test": 1}, "size": 96},
            "data.limit": {"train": 8, "validation": 2, "test": 4},
            "model.name": str(source),
            "train.epochs": 2,
            "train.batch_size": 8,
            "train.samples": 2,
            "train.learning_rate": 1e-5,
            "generate.max_new_tokens": 5,
        },
        "rehearsal",
    )
    run = fine_tune(config)
    assert run.state["step"] == 2
    evaluate(config, grounding=False, start=False, resamples=20)
    assert len(Run(config.folder).predictions("test")) == 4
    tokenizer = BertTokenizer.from_pretrained(run.model_folder)
    assert tokenizer("a").input_ids[0] == 30523
