"""The adapter that a LoRA run exports: peft puts it onto the base model, and the answers are the run's."""

import json

import pytest
import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file
from transformers import BlipForConditionalGeneration, BlipForQuestionAnswering, BlipProcessor

from blipvqa import evaluate, fine_tune, load_splits
from blipvqa.config.knobs import LoraConfig
from blipvqa.models.adapters import add_lora, folded, merged
from blipvqa.models.loading import load_model
from blipvqa.vqa.batches import prepare_question
from blipvqa.vqa.validation import Validation


def plain_answers(model, processor, data, rows, **more):
    answers = []
    for i in rows:
        inputs = processor(data.image(i), prepare_question(data.rows[i]["question"]), return_tensors="pt")
        answers.append(processor.decode(model.generate(**inputs, max_length=7, **more)[0], skip_special_tokens=True))
    return answers


def test_peft_puts_the_adapter_onto_the_base_model_and_the_answers_are_the_run_s(tiny):
    base = fine_tune(tiny("base", train__epochs=1)).model_folder
    lora = {"rank": 4, "dropout": 0.0, "towers": ["vision_model", "text_encoder", "text_decoder"]}
    config = tiny("lora", model__name=str(base), model__lora=lora, train__epochs=4, train__learning_rate=3e-2)
    run = fine_tune(config)
    evaluate(config, progress=False, resamples=20)
    data, folder = load_splits(config)["test"], run.folder / "adapter"
    plain = BlipForQuestionAnswering.from_pretrained(base).eval()
    before = plain_answers(plain, BlipProcessor.from_pretrained(base), data, range(24))
    model = PeftModel.from_pretrained(plain, folder).eval()
    answers = plain_answers(model, BlipProcessor.from_pretrained(folder), data, range(24))
    assert answers == [row["prediction"] for row in run.predictions("test")][:24]
    assert answers != before

    settings = json.loads((folder / "adapter_config.json").read_text())
    assert settings["r"] == 4 and settings["base_model_name_or_path"] is None and settings["inference_mode"]
    assert str(base) not in "".join(p.read_text() for p in folder.iterdir() if p.suffix in (".json", ".md"))
    assert all("lora_" in name for name in load_file(folder / "adapter_model.safetensors"))
    assert not any("lora_" in name for name in load_file(run.model_folder / "model.safetensors"))


def test_folded_adapters_answer_as_the_export_does_and_leave_every_weight_the_tensor_that_it_was(tiny):
    config = tiny("lora", train__epochs=0)
    model, _ = load_model(str(fine_tune(config).model_folder), config)
    side, draw = config.model.image_size, torch.Generator().manual_seed(0)
    asked = {
        "input_ids": torch.tensor([[2, 5, 6, 7, 3]]),
        "attention_mask": torch.ones(1, 5, dtype=torch.long),
        "pixel_values": torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8, generator=draw),
        "image_index": torch.zeros(1, dtype=torch.long),
        "labels": torch.tensor([[5, 6, 7, 3]]),
    }

    @torch.no_grad()
    def loss(of) -> torch.Tensor:
        return of.eval()(**asked).loss_per_answer

    plain = loss(model)
    add_lora(model, LoraConfig(rank=4, dropout=0.0))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data = 0.3 * torch.randn(parameter.shape, generator=draw)
    before = {name: (tensor.data_ptr(), tensor.clone()) for name, tensor in model.state_dict().items()}
    beside = loss(model)
    with folded(model):
        within = loss(model)
    with pytest.raises(KeyboardInterrupt), folded(model):
        raise KeyboardInterrupt
    assert abs(beside - plain) > 1e-3
    torch.testing.assert_close(within, beside, rtol=1e-4, atol=1e-5)
    assert torch.equal(within, loss(merged(model))) and torch.equal(beside, loss(model))
    for name, tensor in model.state_dict().items():
        assert tensor.data_ptr() == before[name][0] and torch.equal(tensor, before[name][1])


def test_an_epoch_is_validated_with_folded_adapters(tiny, monkeypatch):
    base = fine_tune(tiny("base", train__epochs=0)).model_folder
    seen, validate = [], Validation.__call__

    def spy(self, model):
        seen.append([layer.merged for layer in model.modules() if isinstance(layer, LoraLayer)])
        return validate(self, model)

    monkeypatch.setattr(Validation, "__call__", spy)
    fine_tune(tiny("lora", model__name=str(base), model__lora={"rank": 2}, train__epochs=1))
    assert len(seen) == 2 and all(seen) and all(map(all, seen))


def test_a_base_of_another_picture_size_is_asked_with_its_table_interpolated(tiny):
    base = fine_tune(tiny("base", train__epochs=0)).model_folder
    config = tiny("larger", model__name=str(base), model__image_size=48, model__lora={"rank": 2}, train__epochs=1)
    run = fine_tune(config)
    evaluate(config, progress=False, resamples=20)
    folder, data = run.folder / "adapter", load_splits(config)["test"]
    model = PeftModel.from_pretrained(BlipForQuestionAnswering.from_pretrained(base), folder).eval()
    processor = BlipProcessor.from_pretrained(folder)
    answers = plain_answers(model, processor, data, range(12), interpolate_pos_encoding=True)
    assert answers == [row["prediction"] for row in run.predictions("test")][:12]


def test_captions_have_theirs_too_and_a_run_from_scratch_or_without_lora_has_none(tiny):
    base = fine_tune(tiny("base", task="caption", train__epochs=0)).model_folder
    run = fine_tune(tiny("lora", task="caption", model__name=str(base), model__lora={"rank": 2}, train__epochs=1))
    model = PeftModel.from_pretrained(BlipForConditionalGeneration.from_pretrained(base), run.folder / "adapter")
    whole = BlipForConditionalGeneration.from_pretrained(run.model_folder).state_dict()
    with torch.no_grad():
        for name, tensor in model.merge_and_unload().state_dict().items():
            torch.testing.assert_close(tensor, whole[name], rtol=1e-5, atol=1e-6)
    assert not (fine_tune(tiny("none", train__epochs=0)).folder / "adapter").exists()
    assert not (fine_tune(tiny("scratch", model__lora={"rank": 2}, train__epochs=0)).folder / "adapter").exists()
