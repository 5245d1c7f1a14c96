"""Where nothing was said although something was off: each is refused, or told, by name."""

import shutil

import pytest
from safetensors import safe_open
from safetensors.torch import save_file

from blipvqa import evaluate, fine_tune, load_model
from blipvqa.models.folders import ModelError
from blipvqa.retrieval.index import make_index
from blipvqa.runs.run import RunError
from blipvqa.sharing import export_int8
from blipvqa.training.trained import load_results


def test_a_checkpoint_of_another_run_is_refused_by_name(tiny):
    """Tensors of the same shapes: it went on from them, and exported the other run's training as this one's."""
    stopped = [tiny(name, seed=seed, train__max_minutes=1e-6) for name, seed in (("one", 1), ("two", 2))]
    one, two = (fine_tune(config).folder / "checkpoints" for config in stopped)
    own = two.rename(two.with_name("own"))
    shutil.copytree(one, two)
    with pytest.raises(RunError, match=r"'two/checkpoints' is of another run, 'one', by:\n  seed: 1, here 2\nPut"):
        fine_tune(stopped[1])
    shutil.rmtree(two)
    own.rename(two)
    assert fine_tune(stopped[1]).state["step"] == 2


def test_an_int8_export_of_a_shorter_training_is_refused(tiny):
    settings = {"train__schedule": "constant", "model__name": "scratch"}
    run = fine_tune(tiny(train__epochs=1, **settings))
    folder = export_int8(run)
    load_model(str(folder))
    fine_tune(tiny(train__epochs=2, **settings))
    with pytest.raises(
        ModelError, match=r"made of other weights than 'model' beside it holds now\. Make it again: make exp"
    ):
        load_model(str(folder))
    load_model(str(export_int8(run)))


def test_terms_and_a_base_model_that_changed_after_training_are_told_and_refused_on_pages(tiny, root):
    (root / "terms.txt").write_text("gland\n")
    captions = {"task": "caption", "caption__terms": "terms.txt", "train__epochs": 0}
    one, two = (fine_tune(tiny(f"base{seed}", seed=seed, **captions)).model_folder for seed in (1, 2))
    shutil.copytree(one, root / "base")
    config = tiny("run", model__name="base", **captions)
    fine_tune(config)
    run = evaluate(config, progress=False, resamples=10)
    assert not [line for line in run.metrics("test")["warnings"] if "terms" in line or "before training" in line]
    (root / "terms.txt").write_text("gland: glands\nfat\n")
    shutil.copy(two / "model.safetensors", root / "base")
    with pytest.raises(RunError, match=r"scored on test with another file caption\.terms than there is now"):
        load_results(config)
    warnings = evaluate(config, progress=False, resamples=10).metrics("test")["warnings"]
    assert warnings[0].startswith("caption.terms: the file is not the one of the training")
    assert warnings[1].startswith("The numbers before training are of other weights than this run began with")
    load_results(config)


def test_features_of_an_index_that_were_edited_are_refused(tiny):
    run = fine_tune(tiny(task="retrieval", train__epochs=0))
    make_index(run, "test", progress=False)
    part = run.folder / "index" / "texts-000000.safetensors"
    with safe_open(part, "pt") as file:
        header, features = file.metadata(), file.get_tensor("features")
    save_file({"features": features.flip(0)}, part, header)
    with pytest.raises(
        RunError, match=r"'tiny/index/texts-000000\.safetensors' holds other features or names than were"
    ):
        make_index(run, "test", progress=False)
    part.unlink()
    assert make_index(run, "test", progress=False).text_features.equal(features)
