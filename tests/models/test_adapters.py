"""The adapter that a LoRA run exports: peft puts it onto the base model, and the answers are the run's."""

import json

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import BlipForConditionalGeneration, BlipForQuestionAnswering, BlipProcessor

from blipvqa import evaluate, fine_tune, load_splits
from blipvqa.vqa.batches import prepare_question


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
