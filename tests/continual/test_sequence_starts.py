"""What a sequence says of the model that all its stages begin with, and refuses before the first of them."""

import pytest
from conftest import TINY
from test_sequence import SMALL, own_pictures, run, small

from blipvqa import fine_tune, load_config, load_splits
from blipvqa.config.knobs import ConfigError
from blipvqa.continual import sequence
from blipvqa.continual.stages import plan
from blipvqa.continual.words import check_words


def test_stages_that_the_first_model_had_learnt_or_that_name_no_measure_are_told(root, monkeypatch):
    """Scores of the model that all begin with promised too much, unsaid; a stage's metric was refused in its turn."""
    stage, other = own_pictures(root, "a", ("fat",)), own_pictures(root, "b", ("fat",), 20)
    (root / "c").mkdir()
    (root / "c" / "train.jsonl").write_text((root / "a" / "test.jsonl").read_text())
    own = {"data.source": "c", "data.image_root": "a", "data.validation_share": 0.4, "train.epochs": 1}
    settings = {key: value for key, value in {**TINY, **SMALL}.items() if key != "data.synthetic"}
    export = f"outputs/{fine_tune(load_config(None, settings | own, 'a')).name}/model"  # called as a stage is
    planned = plan(small(stages=[stage, other], model__name=export))
    notes = check_words(planned, [load_splits(stage.config) for stage in planned.stages])
    assert [note.split(" learnt by")[0] for note in notes if "learnt by run 'a'" in note] == [
        "a: test: 1 of 2 rows was"
    ]
    monkeypatch.setattr(sequence, "run_stage", lambda *_: pytest.fail("a stage was trained"))
    with pytest.raises(ConfigError, match=r"stage '1-a': train\.metric: 'yes_no_predicted_yes' is no measure of which"):
        run(small(stages=[{**stage, "train": {"metric": "yes_no_predicted_yes"}}, other]))
