"""Learning on with a tiny model, end to end: what each method trains on, what resumes, what is refused."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from conftest import TINY
from PIL import Image

from blipvqa import load_config, load_model, load_splits, save_model
from blipvqa.config.knobs import ConfigError
from blipvqa.continual import sequence
from blipvqa.continual.distillation import divergence
from blipvqa.continual.rows import replayed_rows
from blipvqa.continual.scores import _warnings
from blipvqa.continual.sequence import learn_on, load_learnt
from blipvqa.continual.stages import plan
from blipvqa.continual.words import check_words
from blipvqa.data.held_out import held_out_names, names_of
from blipvqa.runs.run import RunError

STAGES = [
    {"name": "he", "data.synthetic": {"stains": ["hematoxylin and eosin"], "seed": 1}},
    {"name": "silver", "data.synthetic": {"stains": ["silver"], "seed": 2}},
]
SMALL = {
    "data.synthetic": {"images": {"train": 10, "validation": 3, "test": 4}, "size": 32},
    "model.scratch": {"hidden_size": 16, "layers": 1, "heads": 2, "patch_size": 16, "vocabulary": 300},
    "train.epochs": 1,
    "train.samples": 0,
    "generate.max_new_tokens": 3,
}


def small(name="tiny", methods=("plain",), stages=STAGES, **own):
    settings = {"continual.stages": list(stages), "continual.methods": list(methods)}
    return load_config(None, TINY | SMALL | settings | {k.replace("__", "."): v for k, v in own.items()}, name)


def run(config):
    return learn_on(config, resamples=20, progress=False)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """(root, config, what is learnt) of the shortest sequence. Read only."""
    folder = tmp_path_factory.mktemp("sequence")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLIPVQA_ROOT", str(folder))
        config = small(methods=("plain", "replay"), continual__replay=0.5)
        return folder, config, run(config)


@pytest.fixture
def learnt(done, monkeypatch):
    monkeypatch.setenv("BLIPVQA_ROOT", str(done[0]))
    return done[2]


def rows_of(learnt, label):
    lines = (learnt.folder / "rows" / label / "train.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_stages_are_the_stains_that_they_name(learnt, done):
    for stage, stain in zip(plan(done[1]).stages, ("hematoxylin and eosin", "silver"), strict=True):
        rows = [row for data in load_splits(stage.config).values() for row in data.rows if row["topic"] == "stain"]
        assert rows and {row["answer"] for row in rows} == {stain}


def test_replay_trains_on_whole_pictures_of_earlier_stages(learnt, done):
    rows = rows_of(learnt, "replay-2-silver")
    first, second = (load_splits(stage.config)["train"] for stage in plan(done[1]).stages)
    old = [row for row in rows if row["origin"] == "replay"]
    assert {row["stage"] for row in old} == {"he"} and len({row["image"] for row in old}) == 5  # half of ten
    kept = {row["image"].removeprefix("images/").removesuffix(".png") for row in old}
    assert len(old) == sum(row["image_id"] in kept for row in first.rows)  # with all that is asked about them
    assert sum(row["origin"] == "own" for row in rows) == len(second)
    assert not {row["image"] for row in old} & {row["image"] for row in rows if row["origin"] == "own"}


def test_a_kill_in_a_stage_goes_on_there(root, monkeypatch):
    whole = run(small("whole"))
    real, trained = sequence.run_stage, []

    def killed(config, task):
        trained.append(config.name)
        if config.name == "parts-plain-2-silver" and trained.count(config.name) == 1:
            real(config.model_copy(update={"train": config.train.model_copy(update={"max_minutes": 1e-9})}), task)
        return real(config, task)

    monkeypatch.setattr(sequence, "run_stage", killed)
    config = small("parts")
    with pytest.raises(RunError, match="stopped before its end"):
        run(config)
    first = (root / "outputs" / "parts-1-he" / "state.json").stat().st_mtime_ns
    parts = run(config)
    assert trained == ["parts-1-he", "parts-plain-2-silver"] * 2
    assert (root / "outputs" / "parts-1-he" / "state.json").stat().st_mtime_ns == first
    assert parts.scores["methods"] == whole.scores["methods"]


def test_one_stage_forgets_nothing_and_says_so(root, capsys):
    """And where a run on mixed rows is scored: its note said that scores are on validation, as if all of them were."""
    config = small("one", methods=("plain", "joint"), stages=STAGES[:1])
    learnt = run(config)
    said = capsys.readouterr().out.splitlines()
    scored = "one-joint: its mixed rows are train and validation alone: the sequence scores its model on test of 'he'"
    own = "there is no test split: this run's own scores are on validation, which also chose the best weights"
    assert [line for line in said if line in (scored, own)] == [scored, own]
    assert learnt.scores["methods"]["joint"]["matrix"][-1][0]["n"] == len(learnt.data["he"]["test"])
    run(config)
    assert scored not in capsys.readouterr().out  # nothing is trained
    measures = learnt.scores["methods"]["plain"]["measures"]
    assert measures["final_average"]["value"] is not None
    assert measures["forgetting"]["value"] is None and "one stage" in measures["forgetting"]["reason"]


def test_all_that_is_wrong_with_the_stages_is_one_message(root):
    (root / "words.yaml").write_text(yaml.safe_dump({"task": "caption"}))
    stages = ["nowhere.yaml", "words.yaml", {"name": "he", "model.name": "x"}, {"data.limit": {}}, *STAGES, STAGES[0]]
    with pytest.raises(ConfigError) as error:
        plan(small(stages=stages))
    for line in (
        "stage 1: config 'nowhere.yaml' cannot be read",
        "stage 2: 'words.yaml' is of task caption",
        "stage 3: may say name, data, train and needs a name, found name, model.name",
        "stage 4: may say",
        "2 stages are called 'he'",
    ):
        assert line in str(error.value)
    with pytest.raises(ConfigError, match="stage 'again' has the data of stage 'he'"):
        plan(small(stages=[*STAGES, STAGES[0] | {"name": "again"}]))
    with pytest.raises(ConfigError, match="names no data set"):
        plan(small(stages=[]))
    with pytest.raises(ConfigError, match=r"continual\.methods\.0"):
        small(methods=("magic",))
    with pytest.raises(ConfigError, match="plain stands there twice"):
        small(methods=("plain", "plain"))
    assert not (root / "outputs").exists()


def test_words_that_the_first_model_cannot_write_are_refused_before_training(root):
    run(small("begin", stages=STAGES[:1]))
    (root / "mine").mkdir()
    row = {"question": "what is it?", "answer": "3 µm²"}
    for i in range(3):
        Image.new("RGB", (20, 20), (i * 60, 20, 30)).save(root / "mine" / f"{i}.png")
    (root / "mine" / "train.jsonl").write_text(
        "".join(json.dumps(row | {"image": f"{i}.png"}) + "\n" for i in range(3))
    )
    stages = [STAGES[0], {"name": "own", "data": {"source": "mine", "validation_share": 0.4}}]
    config = small("refused", stages=stages, model__name="outputs/begin/start")
    with pytest.raises(ConfigError, match="answers of 'own' hold letters that the model does not know"):
        run(config)
    assert not (root / "outputs" / "refused-1-he").exists()


def test_what_a_stage_was_trained_on_is_compared(root):
    run(small())
    with pytest.raises(ConfigError, match=r"run 'tiny-1-he' exists with other settings"):
        run(small(train__learning_rate=2e-3))
    for other in ({"train__learning_rate": 2e-3}, {"generate__num_beams": 2}):
        with pytest.raises(ConfigError, match="made with other settings"):
            load_learnt(small(**other))


def own_pictures(root, name, answers, first=0):
    """A source of a person's own: a question to each of ten pictures, four of them held out."""
    (root / name).mkdir(exist_ok=True)
    for split, numbers in (("train", range(6)), ("validation", (6, 7)), ("test", (8, 9))):
        rows = []
        for i in numbers:
            noise = np.random.default_rng(first + i).integers(0, 255, (20, 20, 3), dtype=np.uint8)
            Image.fromarray(noise).save(root / name / f"{i}.png")
            rows.append({"image": f"{i}.png", "question": "what is it?", "answer": answers[i % len(answers)]})
        (root / name / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return {"name": name, "data": {"source": name}}


def test_what_was_learnt_is_not_shown_with_other_pictures(root):
    """A forgotten question is found by its place: it would stand under the picture that is there now."""
    stages = [own_pictures(root, "a", ("fat", "bone")), own_pictures(root, "b", ("skin",), 20)]
    Image.open(root / "a" / "0.png").resize((80, 80)).save(root / "b" / "8.png")  # a trains on it, and b holds it out
    config = small(stages=stages)
    before = run(config)
    alike = "1 picture of test of 'b' looks like another of train of 'a' (at most 48 of 256 bits differ)"
    assert [line.split(",")[0] for line in before.scores["warnings"] if "looks like" in line] == [alike]
    assert load_learnt(config).forgotten == before.forgotten
    table = root / "a" / "test.jsonl"
    text = table.read_text()
    table.write_text("\n".join(text.splitlines()[::-1]))
    with pytest.raises(RunError, match=r"'tiny' was made with other data than there is now \(a\)"):
        load_learnt(config)
    table.write_text(text)
    load_learnt(config)


def test_a_stage_without_a_test_split_is_told_once(root):
    """Its data said it of "this run's own scores", and the sequence of the stage."""
    stage = own_pictures(root, "a", ["tissue"])
    (root / "a" / "test.jsonl").unlink()
    splits = load_splits(plan(small(stages=[stage])).stages[0].config)
    told = _warnings([{"name": "a", "split": "validation"}], [splits])
    assert [line for line in told if "validation, which also" in line] == [
        "'a': scored on validation, which also chose the best epoch"
    ]


def test_mixed_rows_that_somebody_edited_are_not_learnt(root):
    config = small(methods=("replay",))
    run(config)
    shutil.rmtree(root / "outputs" / "tiny-replay-2-silver")
    table = config.folder / "rows" / "replay-2-silver" / "train.jsonl"
    table.write_text(table.read_text().replace("silver", "golden"))
    with pytest.raises(RunError, match="'rows/replay-2-silver' is not what was written there"):
        run(config)


def test_the_divergence_from_the_teacher_is_none_where_both_agree():
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(divergence(logits, logits, 2.0), torch.zeros(5))
    other = torch.zeros(5, 7)
    expected = (other.softmax(1) * (other.log_softmax(1) - logits.log_softmax(1))).sum(1)
    torch.testing.assert_close(divergence(logits, other, 1.0), expected)


@pytest.mark.parametrize(("file", "disjoint"), [("continual-demo", False), ("continual-answers", True)])
def test_the_configs_say_rightly_whether_their_stages_share_answers(root, request, file, disjoint):
    path = request.config.rootpath / "configs" / f"{file}.yaml"
    images = {"train": 24, "validation": 2, "test": 2}
    stages = plan(load_config(path, {"data.synthetic.images": images})).stages
    answers = [{row["answer"] for row in load_splits(stage.config)["train"].rows} for stage in stages]
    assert len(answers) == 4 and (sum(map(len, answers)) == len(set().union(*answers))) == disjoint
    pictures = [{row["image_id"] for row in load_splits(stage.config)["train"].rows} for stage in stages]
    assert sum(map(len, pictures)) == len(set().union(*pictures))


def test_a_sequence_of_files_takes_their_data_alone(root):
    (root / "b.yaml").write_text(yaml.safe_dump({"data": {"limit": {"train": 5}, "max_answer_tokens": 9}, "seed": 7}))
    stages = plan(small(stages=[STAGES[0], "b.yaml"], seed=3)).stages
    assert [stage.name for stage in stages] == ["he", "b"]
    other = stages[1].config
    assert other.data.limit == {"train": 5} and other.seed == 3 and other.data.max_answer_tokens == 40
    assert other.train.batch_size == TINY["train.batch_size"]


def test_pictures_that_another_stage_holds_out_are_not_replayed(root):
    train = load_splits(plan(small()).stages[0].config)["train"]
    pictures = sorted({row["image_id"] for row in train.rows})
    names = dict(zip((row["image_id"] for row in train.rows), names_of(train), strict=True))
    held_out = frozenset().union(*(names[picture] for picture in pictures[1:]))
    rows = replayed_rows(train, 1.0, 0, held_out)
    assert {train.rows[i]["image_id"] for i in rows} == {pictures[0]}
    assert replayed_rows(train, 0.5, 0, held_out | names[pictures[0]]) == []


def test_patients_that_another_stage_holds_out_are_not_replayed_and_are_told(root):
    """By name, in whatever letters: two data sets of one hospital know a patient by the same number."""
    patients = (
        ("a", "train", ["P1", "P2"]),
        ("a", "validation", ["P3"]),
        ("b", "train", ["P4"]),
        ("b", "validation", ["p2 "]),
    )
    for i, (folder, split, names) in enumerate(patients):
        (root / folder).mkdir(exist_ok=True)
        lines = []
        for j, patient in enumerate(names):
            Image.new("RGB", (20, 20), (i * 40, j * 40, 9)).save(root / folder / f"{split}-{j}.png")
            row = {"image": f"{split}-{j}.png", "question": "what is it?", "answer": "tissue", "patient": patient}
            lines.append(json.dumps(row))
        (root / folder / f"{split}.jsonl").write_text("\n".join(lines))
    stages = [{"name": name, "data": {"source": name, "group_column": "patient"}} for name in "ab"]
    planned = plan(small(stages=stages))
    data = [load_splits(stage.config) for stage in planned.stages]
    start = load_model("scratch", planned.config, [text for splits in data for text in splits["train"].texts])
    save_model(*start, root / "outputs" / "tiny" / "start")
    assert "1 groups by name that 'b' holds out are groups by name that 'a' trains on" in check_words(planned, data)
    rows = replayed_rows(data[0]["train"], 1.0, 0, held_out_names(data[1:]))
    assert [data[0]["train"].rows[i]["patient"] for i in rows] == ["P1"]
    # before, a held-out picture that was saved anew was replayed
    Image.open(root / "a" / "train-0.png").save(root / "b" / "validation-0.png", compress_level=0)
    data = [load_splits(stage.config) for stage in planned.stages]
    assert "1 pictures that 'b' holds out are pictures that 'a' trains on" in check_words(planned, data)
    assert replayed_rows(data[0]["train"], 1.0, 0, held_out_names(data[1:])) == []
