"""A run folder opens, is taken over, or is refused in a sentence."""

import pytest
import yaml

from blipvqa import Run, load_config
from blipvqa.config.knobs import Config, ConfigError
from blipvqa.runs.run import RunError, open_run


def settings(root, change):
    file = root / "outputs" / "run" / "config.yaml"
    tree = yaml.safe_load(file.read_text())
    change(tree)
    file.write_text(yaml.safe_dump(tree))


def test_an_older_folder_opens_and_a_newer_one_is_refused_by_key(root):
    run = open_run(load_config(), {})
    assert isinstance(run.config, Config)
    settings(root, lambda tree: tree["train"].pop("nonfinite"))
    assert run.config == load_config()
    settings(root, lambda tree: tree["train"].update(warp=9))
    with pytest.raises(RunError, match=r"does not understand train\.warp in its config\.yaml"):
        _ = run.config
    with pytest.raises(RunError, match="there is no run 'none'"):
        _ = Run(root / "outputs" / "none").config


def test_a_start_that_made_nothing_does_not_block_its_correction(root):
    open_run(load_config(overrides={"data.source": "mispelt"}), {})
    run = open_run(load_config(overrides={"data.source": "synthetic"}), {})
    assert run.config.data.source == "synthetic"
    (run.folder / "state.json").write_text("{}")
    with pytest.raises(ConfigError, match="exists with other settings"):
        open_run(load_config(overrides={"data.source": "another"}), {})


def test_a_run_that_kept_no_rows_gets_none_of_later_data(root, capsys):
    """What an older version trained on is not known: the rows of today must not be taken for it."""
    run = open_run(load_config(), {"train": {"train/0": "a"}})
    (run.folder / "state.json").write_text("{}")
    (run.folder / "data.json").unlink()
    open_run(load_config(), {"train": {"train/0": "b"}})
    assert "did not keep its rows" in capsys.readouterr().out
    assert not (run.folder / "data.json").exists()
