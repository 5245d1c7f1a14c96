"""A model by its name on the Hub: from the cache where there is no network, and by the same guarded door as a folder."""

import huggingface_hub.constants
import pytest
from damages import QUERY, weights

from blipvqa import load_config, load_model, save_model
from blipvqa.config.knobs import ConfigError
from blipvqa.models.folders import ModelError
from blipvqa.models.weights import weights_digest

NAME = "someone/blip"


@pytest.fixture
def cached(tiny, tmp_path, monkeypatch):
    """The Hub's cache, offline, with one model at revision 11…1."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    repository = tmp_path / "hub" / "models--someone--blip"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("1" * 40)
    model, processor = load_model("scratch", tiny(), texts=["is there a vessel?", "yes"])
    return save_model(model, processor, repository / "snapshots" / ("1" * 40)), repository


def test_a_cached_model_loads_without_a_network(cached):
    model, processor = load_model(NAME)
    assert len(processor.tokenizer) == model.config.text_config.vocab_size


def test_a_damaged_one_is_refused(cached):
    weights(lambda t: t.pop(QUERY) is None)(cached[0])
    with pytest.raises(ModelError, match="missing"):
        load_model(NAME)


def test_one_that_is_not_cached_is_said(cached):
    with pytest.raises(ConfigError, match=r"someone/other.*the Hub gave none"):
        load_model("someone/other")


def test_its_fingerprint_is_its_revision(cached):
    folder, repository = cached
    before = weights_digest(NAME)
    assert weights_digest(NAME) == before
    folder.rename(folder.with_name("2" * 40))
    (repository / "refs" / "main").write_text("2" * 40)
    assert weights_digest(NAME) != before


def test_a_folder_comes_before_a_name_on_the_hub(cached, root):
    model, processor = load_model(NAME)
    save_model(model, processor, root / NAME)
    (root / NAME / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="model_type"):
        load_model(NAME, load_config())
