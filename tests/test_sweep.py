"""A sweep: the whole grid is checked first, finished runs are left out, one that fails takes no other along."""

import json
import os
import signal
import sys
import threading
import time

import pytest
from conftest import TINY

from blipvqa import Run, load_splits
from blipvqa.__main__ import main
from blipvqa.config.knobs import ConfigError
from blipvqa.config.plain_yaml import write_yaml
from blipvqa.data.fingerprint import fingerprint
from blipvqa.runs.run import RunError
from blipvqa.sweep.grid import parse_grid, plan
from blipvqa.sweep.running import devices_here, is_finished, sweep

# What a test starts in place of the notebooks, quickly: it leaves what a finished run leaves, and notes its device.
STAND_IN = """
import json, os, pathlib, sys, time

name = sys.argv[sys.argv.index("--name") + 1]
with open("started.jsonl", "a") as file:
    file.write(json.dumps({"name": name, "device": os.environ.get("CUDA_VISIBLE_DEVICES")}) + "\\n")
while os.environ.get("WAIT_FOR") and len(open("started.jsonl").readlines()) < int(os.environ["WAIT_FOR"]):
    time.sleep(0.02)
if "seed=13" in sys.argv:
    sys.exit("FloatingPointError: the loss is no number")
folder = pathlib.Path("outputs", name)
folder.mkdir(parents=True, exist_ok=True)
for file, text in json.load(open("made.json"))[name].items():
    (folder / file).write_text(text)
"""


@pytest.fixture
def project(root, monkeypatch):
    """A root with one config, and the stand-in for the notebooks."""
    (root / "small.yaml").write_text("\n".join(f"{key}: {json.dumps(value)}" for key, value in TINY.items()))
    (root / "stand_in.py").write_text(STAND_IN)
    monkeypatch.chdir(root)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return root


def stand_in(project, points):
    """The program to start, which leaves a finished run (with seed 14: one whose minutes were over)."""
    rows = json.dumps(fingerprint(load_splits(points[0].config)))
    made = {
        point.config.name: {
            "config.yaml": write_yaml(point.config.as_dict()),
            "data.json": rows,
            "state.json": json.dumps({"finished": point.config.seed != 14}),
            "metrics-test.json": json.dumps({"overall": {}, "by": {}, "warnings": []}),
            **dict.fromkeys(("predictions-test.jsonl", "report.html"), "{}"),
        }
        for point in points
    }
    (project / "made.json").write_text(json.dumps(made))
    return [sys.executable, "-S", str(project / "stand_in.py")]


def started(project):
    file = project / "started.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_a_grid_is_every_combination_with_readable_names(project):
    points = plan("small.yaml", ["seed=0,1", "train.learning_rate=1e-4,3e-4"], ["train.epochs=1"])
    assert [point.config.name for point in points] == [
        "small-seed0-learning_rate1e-4",
        "small-seed0-learning_rate3e-4",
        "small-seed1-learning_rate1e-4",
        "small-seed1-learning_rate3e-4",
    ]
    assert {point.config.train.epochs for point in points} == {1}
    assert [(p.config.seed, p.config.train.learning_rate) for p in points[1:3]] == [(0, 3e-4), (1, 1e-4)]
    texts = plan("small.yaml", ["train.schedule=cosine,constant"], name="mine")
    assert [point.config.name for point in texts] == ["mine-schedule-cosine", "mine-schedule-constant"]


def test_values_are_read_as_those_of_set(project):
    assert parse_grid(["a=[x, y],[z]", "b='1,2',3", "c={k: 1, l: 2}"]) == {
        "a": ["[x, y]", "[z]"],
        "b": ["'1,2'", "3"],
        "c": ["{k: 1, l: 2}"],
    }
    points = plan(
        "small.yaml", ["model.lora.towers=[text_encoder],[text_decoder, text_encoder]"], ["model.lora.rank=2"]
    )
    assert [point.config.model.lora.towers for point in points] == [["text_encoder"], ["text_decoder", "text_encoder"]]
    assert [point.config.train.clip_norm for point in plan("small.yaml", ["train.clip_norm=null,1.5"])] == [None, 1.5]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ([], "the grid is empty"),
        (["seed"], "not of the form key=value,value"),
        (["seed=0", "1"], "no spaces"),
        (["seed="], "empty value"),
        (["seed=0,,1"], "empty value"),
        (["seed=0,1", "seed=2"], "'seed' stands in the grid twice"),
        (["name=a,b"], "the sweep names its runs itself"),
        (["train.epohcs=1,2"], "did you mean train.epochs"),
        (["seed=0,many"], "seed: expected a whole number"),
        (["seed=0,1,0"], "are one: their values are the same"),
        (["seed=0,0.0"], "are one: their values are the same"),
        (["seed=0,1", "train.log_every=1,2"], "train.log_every changes nothing there"),
        (["caption.num_beams=1,3"], "caption.num_beams changes nothing there"),
        (["generate.shortlist=8,16"], "generate.shortlist changes nothing there"),
        (["seed=1,2", "train.epochs=2"], "'train.epochs' in the grid has one value, which changes nothing"),
        (["train.metric=exact_match,cider_d"], "train.metric: 'cider_d' is none of"),
        (["train={epochs: 1},{epochs: 1}"], "their values are the same"),
        (["data.source=a/b,a-b"], "would be called"),
        ([f"data.source=a,{'x' * 90}"], "give a shorter NAME"),
        (["train=1,2"], "train: expected a section"),
    ],
)
def test_a_bad_grid_is_refused_before_the_first_run(project, grid, message, capsys):
    assert main(["sweep", "small.yaml", "--grid", *grid]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("ConfigError: "), printed
    with pytest.raises(ConfigError, match=message):
        plan("small.yaml", grid)
    assert not (project / "outputs").exists()


def test_what_stands_in_the_grid_and_beside_it_is_refused(project):
    with pytest.raises(ConfigError, match="seed stands in the grid and beside it"):
        plan("small.yaml", ["seed=0,1"], ["seed=2"])


def test_a_knob_that_another_value_of_the_grid_wakes_may_vary(project):
    grid = ["generate.method=rank", "generate.shortlist=8,16"]
    assert len(plan("small.yaml", grid)) == 2


def test_finished_runs_are_left_out_and_stopped_ones_go_on(project):
    points = plan("small.yaml", ["seed=0,1,14"])
    says = [outcome.says for outcome in sweep(points[:2], program=stand_in(project, points))]
    assert says == ["finished", "finished"]
    outcomes = sweep(points, program=stand_in(project, points))
    assert [outcome.says for outcome in outcomes[:2]] == ["finished before"] * 2
    assert (outcomes[2].well, outcomes[2].says.split(":")[0]) == (False, "not finished yet")
    assert [row["name"] for row in started(project)] == ["small-seed0", "small-seed1", "small-seed14"]
    sweep(points, program=stand_in(project, points))
    assert [row["name"] for row in started(project)][3:] == ["small-seed14"]


def test_a_run_evaluated_otherwise_is_evaluated_anew(project):
    (point,) = plan("small.yaml", ["seed=1"])
    sweep([point], program=stand_in(project, [point]))
    assert is_finished(point.config)
    (other,) = plan("small.yaml", ["seed=1"], ["generate.num_beams=3"])
    assert not is_finished(other.config)


def test_a_failed_run_stops_no_other_and_the_end_says_so(project, capsys, monkeypatch):
    points = plan("small.yaml", ["seed=0,13,1"])
    monkeypatch.setattr("blipvqa.sweep.running.sweep.__defaults__", ((), stand_in(project, points)))
    assert main(["sweep", "small.yaml", "--grid", "seed=0,13,1"]) == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-4:-1] == [
        "small-seed0: finished",
        "small-seed13: failed: FloatingPointError: the loss is no number",
        "small-seed1: finished",
    ]
    assert "1 of 3 runs did not finish" in printed.err
    assert main(["sweep", "small.yaml", "--grid", "seed=0,1"]) == 0
    assert len(started(project)) == 3


def test_runs_stand_side_by_side_one_on_a_device(project, monkeypatch):
    """The first two wait for each other, and would for ever one after the other."""
    monkeypatch.setenv("WAIT_FOR", "2")
    points = plan("small.yaml", ["seed=0,1,2,3"])
    outcomes = sweep(points, ["4", "7"], stand_in(project, points))
    assert [outcome.says for outcome in outcomes] == ["finished"] * 4
    assert {row["device"] for row in started(project)[:2]} == {"4", "7"}
    assert sorted(row["name"] for row in started(project)) == [f"small-seed{i}" for i in range(4)]


@pytest.fixture
def interruptible():
    """Ctrl-C raises, as at a prompt: a shell starts what goes to its background with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_stopped_sweep_lets_its_runs_stop_in_good_order(project):
    """The run under way gets the signal once and ends by itself; no further one begins."""
    script = "import sys, time\ntry:\n    open('under-way', 'w').close()\n    time.sleep(60)\n"
    script += "except KeyboardInterrupt:\n    open('stopped', 'w').close()\n    time.sleep(0.3)\n    open('whole', 'w').close()"
    (project / "slow.py").write_text(script)

    def interrupt():
        while not (project / "under-way").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    points = plan("small.yaml", ["seed=0,1"])
    with pytest.raises(KeyboardInterrupt):
        sweep(points, program=[sys.executable, str(project / "slow.py")])
    assert (project / "whole").exists()
    (project / "under-way").unlink()
    time.sleep(0.3)
    assert not (project / "under-way").exists()


def test_devices_are_those_wanted_or_all_that_are_seen(project, monkeypatch):
    assert devices_here("0, 1") == ["0", "1"]
    assert devices_here() == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert devices_here() == ["2", "3"]
    with pytest.raises(ConfigError, match="one stands there twice"):
        devices_here("0,0")


def test_a_folder_of_other_settings_or_other_data_is_refused_before_the_first_run(project):
    points = plan("small.yaml", ["seed=0,1"])
    sweep(points[1:], program=stand_in(project, points))
    with pytest.raises(ConfigError, match=r"run 'small-seed1' exists with other settings:\n  train.learning_rate"):
        plan("small.yaml", ["seed=0,1"], ["train.learning_rate=0.1"])
    file = Run(points[1].config.folder).folder / "data.json"
    rows = json.loads(file.read_text())
    rows["train"].popitem()
    file.write_text(json.dumps(rows))
    with pytest.raises(RunError, match=r"finished, but was made with other data:\n  1 row added to train"):
        sweep(points, program=stand_in(project, points))
    assert len(started(project)) == 1


@pytest.mark.slow
def test_a_sweep_through_the_notebooks(project, request, capsys):
    (project / "notebooks").symlink_to(request.config.rootpath / "notebooks")
    (project / "configs").mkdir()
    grid = ["sweep", "small.yaml", "--grid", "seed=0,1", "--devices", "0,1"]
    assert main(grid) == 0
    for name in ("small-seed0", "small-seed1"):
        run = Run(project / "outputs" / name)
        assert run.finished
        assert (run.folder / "report.html").exists()
        assert len(list((run.folder / "notebooks").iterdir())) == 4
    capsys.readouterr()
    assert main(grid) == 0
    assert capsys.readouterr().out.count("finished before") == 2
