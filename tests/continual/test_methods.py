"""Every method of learning on, with a tiny model: what each trains on, and that all of it is used again."""

import json

import nbformat
import pytest
import torch
import yaml
from test_sequence import rows_of, run, small

from blipvqa import Run, load_model, load_splits
from blipvqa.__main__ import main
from blipvqa.continual.rows import asked_about, kept_questions
from blipvqa.continual.stages import plan
from blipvqa.workflow import run_notebooks

pytestmark = pytest.mark.slow  # a dozen trainings


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """(root, config, what is learnt) of all methods. Read only."""
    folder = tmp_path_factory.mktemp("methods")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLIPVQA_ROOT", str(folder))
        methods = ("plain", "replay", "questions", "distil", "interpolate", "lora", "joint", "alone")
        config = small(methods=methods, continual__replay=0.5)
        return folder, config, run(config)


@pytest.fixture
def learnt(done, monkeypatch):
    monkeypatch.setenv("BLIPVQA_ROOT", str(done[0]))
    return done[2]


def test_every_method_begins_with_one_first_run_and_goes_on_from_the_last_model(learnt, done):
    outputs = done[0] / "outputs"
    assert Run(outputs / "tiny-1-he").config.model.name == "outputs/tiny/start"
    for method in ("plain", "replay", "questions", "distil", "interpolate", "lora"):
        stage = Run(outputs / f"tiny-{method}-2-silver")
        assert stage.finished and stage.config.model.name == "outputs/tiny-1-he/model"
    assert Run(outputs / "tiny-alone-2-silver").config.model.name == "outputs/tiny/start"
    assert Run(outputs / "tiny-lora-2-silver").config.model.lora.rank == 8
    assert Run(outputs / "tiny-distil-2-silver").config.continual.methods == ["distil"]
    assert all("distilled" in row for row in Run(outputs / "tiny-distil-2-silver").history if row["type"] == "step")
    assert len(list(outputs.glob("tiny-*-he"))) == len(list(outputs.glob("tiny-1-he")))  # nobody trained it again


def test_replay_of_questions_keeps_no_picture_and_no_answer_of_an_earlier_stage(learnt, done):
    folder = learnt.folder / "rows" / "questions-2-silver"
    first, second = (load_splits(stage.config) for stage in plan(done[1]).stages)
    new = {row["image_id"] for split in ("train", "validation") for row in second[split].rows}
    assert {path.stem for path in (folder / "images").iterdir()} == new
    asked = asked_about(second["train"], kept_questions(first["train"], 0.5, 0), 1)
    own = {(row["image_id"], row["question"]) for row in second["train"].rows}
    assert len(asked) and not own & {(row["image_id"], row["question"]) for row in asked.rows}
    text = (learnt.folder / "answers" / "questions-2-silver-asked.jsonl").read_text()
    said = [json.loads(line) for line in text.splitlines()]
    pseudo = [row["answer"] for row in rows_of(learnt, "questions-2-silver") if row["origin"] == "question"]
    assert pseudo == [row["prediction"] for row in said if row["prediction"].strip()]  # the last model's word


def test_joint_training_has_the_rows_of_all_stages(learnt, done):
    stages = [load_splits(stage.config)["train"] for stage in plan(done[1]).stages]
    assert len(rows_of(learnt, "joint")) == sum(map(len, stages))
    assert {row["stage"] for row in rows_of(learnt, "joint")} == {"he", "silver"}


def test_mixed_weights_lie_between_the_last_and_the_new_ones(learnt, done):
    part = learnt.scores["mixes"]["interpolate-2-silver"]["mix"]
    places = ("tiny-1-he/model", "tiny-interpolate-2-silver/model", "tiny/mixed/interpolate-2-silver")
    last, new, mixed = (load_model(f"outputs/{place}", done[1])[0].state_dict() for place in places)
    for name, tensor in mixed.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, (1 - part) * last[name] + part * new[name])


def test_the_matrix_holds_what_the_answers_say(learnt):
    for method, of_method in learnt.scores["methods"].items():
        shape = (2 if method == "joint" else 3, 2)
        assert (len(of_method["matrix"]), len(of_method["matrix"][0])) == shape, method
    alone = learnt.scores["methods"]["alone"]["matrix"]
    assert alone[1][1]["value"] is None and "not asked" in alone[1][1]["reason"]
    assert alone[1][0] == learnt.scores["methods"]["plain"]["matrix"][1][0]
    assert not learnt.scores["disjoint"] and learnt.scores["stages"][0]["shared"]["silver"] > 2  # yes, no, …
    assert learnt.scores["methods"]["joint"]["measures"]["forgetting"]["value"] is None
    for method, rows in learnt.forgotten.items():
        assert learnt.scores["methods"][method]["forgotten"]["rows"] == len(rows)


def test_again_nothing_is_trained_or_asked(learnt, done, monkeypatch):
    def refuse(*_arguments, **_options):
        raise AssertionError("asked again")

    before = (learnt.folder / "continual.json").read_bytes()
    monkeypatch.setattr("blipvqa.vqa.elsewhere.predict", refuse)
    monkeypatch.setattr("blipvqa.training.loop.FineTuning", refuse)
    monkeypatch.setattr("blipvqa.continual.mixing.save_model", refuse)
    assert run(done[1]).scores == learnt.scores
    assert (learnt.folder / "continual.json").read_bytes() == before


def test_the_shell_and_the_page(learnt, done, capsys):
    (done[0] / "sequence.yaml").write_text(yaml.safe_dump(done[1].as_dict()))
    assert main(["learn-on", "sequence.yaml"]) == 0
    assert "outputs/tiny/report.html" in capsys.readouterr().out
    page = (learnt.folder / "report.html").read_text(encoding="utf-8")
    for text in (
        "replay of questions alone",
        "one LoRA a stage",
        "after 2: silver",
        "Answers in common: he and silver",
    ):
        assert text in page
    assert main(["report", "sequence.yaml"]) == 0 and main(["train", "sequence.yaml"]) == 0  # a sequence, too
    assert main(["learn-on", "nowhere.yaml"]) == 2


def test_the_notebook_runs_through_and_shows_what_was_forgotten(learnt, done, request):
    (done[0] / "notebooks").symlink_to(request.config.rootpath / "notebooks")
    (done[0] / "all.yaml").write_text(yaml.safe_dump(done[1].as_dict()))
    (made,) = run_notebooks(done[1], "all.yaml", None, {}, ("09_continue",))
    outputs = [output for cell in nbformat.read(made, 4).cells for output in cell.get("outputs", [])]
    shown = [set(output.data) for output in outputs if output.output_type in ("display_data", "execute_result")]
    assert sum("image/png" in kinds for kinds in shown) == 3 and sum("text/html" in kinds for kinds in shown) >= 5
    assert not [output for output in outputs if output.output_type == "error"]
