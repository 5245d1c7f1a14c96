"""The model card: its front matter is what the Hub reads, and its numbers are the run's."""

import shutil

import pytest
from huggingface_hub import ModelCard

from blipvqa import Run
from blipvqa.pages.cards import front_matter, markdown_table, plain
from blipvqa.vqa.card import write_card


def test_the_card_loads_with_the_run_s_results(done):
    run = Run(done.folder)
    write_card(run)
    card = ModelCard.load(run.model_folder / "README.md")
    assert card.data.library_name == "transformers"
    assert card.data.pipeline_tag == "visual-question-answering"
    results = {result.metric_type: result for result in card.data.eval_results}
    overall = run.metrics("test")["overall"]
    assert {"exact_match", "bleu_1"} <= results.keys()
    for name, result in results.items():
        assert result.metric_value == pytest.approx(overall[name]["value"], abs=1e-6)
        assert (result.dataset_name, result.dataset_split) == ("synthetic", "test")
    assert "This is no medical device" in card.text
    notes = card.text.split("Known of this data:")[1].split("## ")[0].strip().splitlines()
    assert all(len(note) > 20 for note in notes)  # notes, and not the letters of what is stored beside them
    assert str(done.folder) not in card.content


def test_a_card_before_any_evaluation_has_no_results(done, tmp_path):
    run = Run(shutil.copytree(done.folder, tmp_path / "copy"))
    for file in run.folder.glob("metrics-*.json"):
        file.unlink()
    write_card(run)
    card = ModelCard.load(run.model_folder / "README.md")
    assert card.data.eval_results is None
    assert "Not evaluated on a held-out split yet." in card.text


@pytest.mark.parametrize(
    ("start", "named"),
    [("Salesforce/blip-vqa-base", True), ("scratch", False), ("/data/me/weights", False), ("./weights", False)],
)
def test_only_a_hub_id_is_named_as_the_start(start, named):
    matter = front_matter("x", task="visual-question-answering", tags=["vqa"], start=start)
    assert ("base_model: " in matter) == named
    assert "/data" not in matter


def test_text_in_a_markdown_table_stays_in_its_cell():
    assert plain("a `b`\nc") == "`a 'b' c`"
    table = markdown_table(["", "value"], [(plain("a | b"), 1)])
    assert table.splitlines() == ["|  | value |", "| --- | --- |", "| `a \\| b` | 1 |"]
