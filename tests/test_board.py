"""The board: every run of outputs/ on one page, nothing hidden, seeds of one recipe pooled and no others."""

import json
import shutil

import pytest
import yaml
from conftest import write_forged

from blipvqa import Run, load_splits
from blipvqa.__main__ import main
from blipvqa.board import pools_of, read_runs, write_board
from blipvqa.captions.measures import MEASURES
from blipvqa.config.knobs import Config
from blipvqa.config.plain_yaml import write_yaml
from blipvqa.numbers.spread import spread
from blipvqa.runs.run import RunError
from blipvqa.runs.seeds import seeds_of
from blipvqa.tasks import write_report


@pytest.fixture
def outputs(finished, root):
    """A root of its own for copies of the finished run."""
    return root / "outputs"


@pytest.fixture
def copied(finished, outputs):
    """`copied(name, value=…, key=…)`: the finished run under another name, with other settings or exact match."""

    def copy(name, value=None, **settings):
        folder = outputs / name
        shutil.copytree(
            finished[0] / "outputs" / "tiny", folder, ignore=shutil.ignore_patterns("model", "checkpoints", "answers")
        )
        (folder / "model").mkdir()
        scores = Run(folder).metrics("test")
        config = yaml.safe_load((folder / "config.yaml").read_text()) | {"name": "copied"}
        for key, setting in settings.items():
            section, _, last = key.rpartition("__")
            (config[section] if section else config)[last] = setting
        (folder / "config.yaml").write_text(write_yaml(config))
        if value is not None:
            scores["overall"]["exact_match"]["value"] = value
            write_forged(Run(folder), scores)
        return Run(folder)

    return copy


def not_evaluated(run):
    """Make a folder look like a run that was not scored on any split."""
    for path in run.folder.glob("metrics-*.json"):
        path.unlink()


def captions_of(run):
    """Make a folder look like a run on captions."""
    scores = run.metrics("test")
    config = yaml.safe_load((run.folder / "config.yaml").read_text())
    config["task"], config["train"]["metric"] = "caption", "cider_d"
    (run.folder / "config.yaml").write_text(write_yaml(config))
    entry = scores["overall"]["exact_match"]
    scores["overall"] = {name: entry | {"value": 0.25} for name in MEASURES}
    write_forged(run, scores)


def board_of(outputs):
    return write_board().read_text(encoding="utf-8")


def test_the_mean_and_spread_of_seeds_by_hand():
    assert spread([]) == {"value": None, "sd": None, "n": 0, "low": None, "high": None}
    assert spread([0.5]) == {"value": 0.5, "sd": None, "n": 1, "low": None, "high": None}
    two = spread([0.4, 0.6])
    assert (two["value"], two["n"], two["low"], two["high"]) == (0.5, 2, None, None)
    assert two["sd"] == pytest.approx(0.02**0.5)
    three = spread([0.4, None, 0.5, 0.6])
    assert (three["value"], three["sd"], three["n"]) == (pytest.approx(0.5), pytest.approx(0.1), 3)
    assert spread([0.5] * 3) == {"value": 0.5, "sd": 0.0, "n": 3, "low": None, "high": None}
    wide = spread([0.0, 0.5, 1.0], most=1.0)  # by Student alone -0.742 to 1.742, where no share lies
    assert (wide["low"], wide["high"]) == (0.0, 1.0)
    half = 4.30265 * 0.1 / 3**0.5  # Student's t of two degrees of freedom
    assert (three["low"], three["high"]) == (pytest.approx(0.5 - half, abs=1e-4), pytest.approx(0.5 + half, abs=1e-4))


def test_seeds_of_one_recipe_are_pooled_and_nothing_else(copied, outputs):
    for seed, value in ((0, 0.4), (1, 0.5), (2, 0.6)):
        copied(f"a-seed{seed}", value, seed=seed)
    copied("copy-of-seed1", 0.5, seed=1)  # no further seed
    copied("b-seed7", 0.9, seed=7, train__learning_rate=0.5)
    copied("logged-otherwise", 0.7, seed=3, train__log_every=7)
    other_data = copied("other-data", 0.1, seed=4)
    rows = json.loads((other_data.folder / "data.json").read_text())
    rows["test"][next(iter(rows["test"]))] = "0" * 16
    (other_data.folder / "data.json").write_text(json.dumps(rows))
    older = copied("older", 0.1, seed=5)
    (older.folder / "data.json").unlink()
    new_data = copied("scored-as-new-data", 0.1, seed=6)
    scores = new_data.metrics("test")
    scores["data"]["changes"] = ["1 row added to test"]
    write_forged(new_data, scores)
    rows, broken = read_runs(outputs)
    assert broken == {}
    (pool,) = pools_of(rows)
    assert [row.run.name for row in pool] == ["a-seed0", "a-seed1", "a-seed2", "logged-otherwise"]
    page = board_of(outputs)
    values = spread([0.4, 0.5, 0.6, 0.7])
    assert f"<b>0.550</b> ± {values['sd']:.3f} (n&nbsp;4)" in page
    assert "count once" in page
    assert "scored on different rows" in page
    assert [each.run.name for each in seeds_of(Run(outputs / "a-seed1"))][:2] == ["a-seed1", "a-seed0"]
    assert len(seeds_of(Run(outputs / "a-seed1"))) == 4
    assert len(seeds_of(Run(outputs / "other-data"))) == 1


def test_a_cut_by_the_seed_is_one_recipe_and_a_moved_test_row_is_not(copied, outputs):
    """Without a validation split each seed cuts its own: what is pooled is trained on the same rows all together."""
    copied("seed0", 0.4, seed=0)
    cut = copied("seed1", 0.6, seed=1)
    rows = json.loads((cut.folder / "data.json").read_text())
    id_, digest = rows["train"].popitem()
    rows["validation"][id_] = digest
    (cut.folder / "data.json").write_text(json.dumps(rows))
    assert len(pools_of(read_runs(outputs)[0])) == 1
    id_, digest = rows["test"].popitem()
    rows["validation"][id_] = digest
    (cut.folder / "data.json").write_text(json.dumps(rows))
    assert pools_of(read_runs(outputs)[0]) == []


def test_everything_in_outputs_stands_there_as_what_it_is(copied, outputs, finished):
    copied("whole", 0.5)
    unevaluated = copied("unevaluated", seed=1)
    not_evaluated(unevaluated)
    stopped = copied("stopped", seed=2)
    (stopped.folder / "state.json").write_text(json.dumps({"finished": False, "epoch": 3}))
    not_evaluated(stopped)
    captions_of(copied("captions", seed=3))
    torn = copied("torn", seed=4)
    (torn.folder / "metrics-test.json").write_text('{"overall": {"exa')
    strange = copied("strange", seed=5)
    (strange.folder / "metrics-test.json").write_text("[]")
    later = copied("of-another-version")
    (later.folder / "config.yaml").write_text("unheard_of: 1\n")
    (outputs / "leftover").mkdir()
    shutil.copytree(finished[0] / "outputs" / "cache", outputs / "cache")
    rows, broken = read_runs(outputs)
    assert {row.run.name: (row.task, row.status) for row in rows} == {
        "captions": ("caption", "finished, scored on test"),
        "stopped": ("vqa", "unfinished, epoch 3, not evaluated"),
        "unevaluated": ("vqa", "finished, not evaluated"),
        "whole": ("vqa", "finished, scored on test"),
    }
    assert set(broken) == {"torn", "strange", "of-another-version", "leftover"}
    page = board_of(outputs)
    for text in ("unfinished, epoch 3", "CIDEr-D", "caption: runs", "vqa: runs", "does not understand unheard_of"):
        assert text in page
    assert all(f"<li>{name}: " in page for name in broken)


def test_an_undefined_number_is_a_dash_and_names_of_folders_are_text(copied, outputs):
    run = copied("a&b <i>")
    (run.folder / "report.html").touch()
    scores = run.metrics("test")
    scores["overall"]["open_exact_match"] |= {"value": None, "n": 0, "low": None, "high": None}
    write_forged(run, scores)
    page = board_of(outputs)
    assert "<b>–</b> <small>–</small>" in page
    assert '<a class="whole" href="a%26b%20%3Ci%3E/report.html">a&amp;b &lt;i&gt;</a>' in page
    assert "<i>" not in page


def test_no_run_at_all_is_said(root, capsys):
    assert main(["board"]) == 2
    assert "there is no run in outputs/ yet" in capsys.readouterr().err


def test_the_page_sorts_by_itself_and_loads_nothing(copied, outputs, capsys):
    copied("one", seed=1)
    assert main(["board"]) == 0
    assert "open outputs/board.html" in capsys.readouterr().out
    page = (outputs / "board.html").read_text(encoding="utf-8")
    assert "script-src 'sha256-" in page
    assert '<table class="sortable"' in page and 'id="filter"' in page
    assert "src=" not in page


def test_a_report_says_what_its_intervals_leave_out(copied, outputs, finished):
    run = copied("a-seed0", 0.4)
    config = Config.model_validate(run.config.as_dict())
    splits = load_splits(config)
    assert "is not known; make sweep runs some" in write_report(run, splits).read_text(encoding="utf-8")
    copied("a-seed1", 0.5, seed=1)
    copied("a-seed2", 0.6, seed=2)
    page = write_report(run, splits).read_text(encoding="utf-8")
    assert "Over 3 seeds of this recipe on the same rows, a-seed0 (seed 0), a-seed1 (seed 1), a-seed2 (seed 2)" in page
    assert ">0.400<" in page and ">0.500<" in page and ">0.100<" in page


@pytest.mark.parametrize("file", ["bootstrap.json", "continual.json"])
def test_what_several_runs_made_has_a_link_and_is_not_called_unreadable(copied, outputs, file):
    """Before, a folder of CapFilt or of a sequence stood under "Folders that cannot be read"."""
    copied("many-first")
    (outputs / "many").mkdir()
    (outputs / "many" / file).write_text("{}")
    page = board_of(outputs)
    assert '<a href="many/report.html">many</a>' in page and "cannot be read" not in page
    with pytest.raises(RunError, match=r"'many' holds what several runs made: many-first\. Name one of these\."):
        _ = Run(outputs / "many").config
    with pytest.raises(RunError, match=r"there is no run 'many-frist' yet.*Did you mean many-first\?"):
        _ = Run(outputs / "many-frist").config
