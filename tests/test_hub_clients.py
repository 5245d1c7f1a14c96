"""Data and models by their names on the Hub, through the real clients, against a stand-in on this machine."""

import io
import json
import time

import datasets
import huggingface_hub.constants as constants
import numpy as np
import pytest
from conftest import TINY
from PIL import Image
from stand_in_hub import Hub

from blipvqa import Run, evaluate, fine_tune, load_config, load_model, load_splits, save_model
from blipvqa.config.knobs import ConfigError
from blipvqa.data.formats import SourceError
from blipvqa.hub import reachable
from blipvqa.runs.run import RunError

README = b"""---
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*
  - split: test
    path: data/test-*
---
# Drawn
"""
DATA, MODEL = "someone/Path-VQA", "someone/blip-tiny"


def _parquet(first: int, rows: int, side: int = 40) -> bytes:
    def png(i: int) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (side, side, 3), dtype=np.uint8)).save(buffer, "PNG")
        return buffer.getvalue()

    features = {"image": datasets.Image(), "question": datasets.Value("string"), "answer": datasets.Value("string")}
    columns = {
        "image": [{"bytes": png(first + i // 2), "path": None} for i in range(rows)],
        "question": [f"is vessel {i % 3} present?" for i in range(rows)],
        "answer": [("yes", "no", "a vessel")[i % 3] for i in range(rows)],
    }
    buffer = io.BytesIO()
    datasets.Dataset.from_dict(columns, features=datasets.Features(features)).to_parquet(buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def files():
    return {
        "README.md": README,
        "data/train-00000-of-00001.parquet": _parquet(0, 40),
        "data/test-00000-of-00001.parquet": _parquet(100, 12),
    }


@pytest.fixture
def hub(hub, files):
    """The stand-in with one data set, which is tagged too."""
    hub.put("datasets", DATA, files, "v1")
    return hub


def _config(name="tiny", **overrides):
    more = {key.replace("__", "."): value for key, value in overrides.items()}
    return load_config(None, TINY | {"data.source": DATA} | more, name)


def _model_files(root) -> dict[str, bytes]:
    model, processor = load_model("scratch", _config(), texts=["is vessel 0 present?", "yes no a"])
    folder = save_model(model, processor, root / "export")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _downloads(hub: Hub) -> list[str]:
    return [path for method, path in hub.requests if method == "GET" and "/resolve/" in path]


def test_a_set_is_fetched_once_and_is_there_without_a_connection(hub):
    splits = load_splits(_config())
    assert {name: len(split) for name, split in splits.items()} == {"train": 36, "validation": 4, "test": 12}
    assert splits["test"].image(0).size == (40, 40)
    assert len(_downloads(hub)) == 3  # README and two tables
    hub.requests.clear()
    again = load_splits(_config())
    assert not _downloads(hub)
    hub.stop()
    offline = load_splits(_config())
    assert again["train"].rows == splits["train"].rows == offline["train"].rows


def test_a_revision_is_the_one_that_is_read_with_and_without_a_connection(hub, files):
    before = load_splits(_config())["train"].rows
    newest = hub.put("datasets", DATA, files | {"data/train-00000-of-00001.parquet": _parquet(500, 20)})
    assert len(load_splits(_config())["train"].rows) < len(before)
    assert load_splits(_config(data__revision="v1"))["train"].rows == before
    hub.stop()
    assert load_splits(_config(data__revision="v1"))["train"].rows == before
    assert load_splits(_config(data__revision=newest))["train"].rows != before
    with pytest.raises(SourceError, match="cannot be reached, and the cache does not hold it"):
        load_splits(_config(data__revision="v2"))


def test_a_broken_transfer_goes_on_where_it_broke(hub, files, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 100_000)  # 10 MB: what is less begins anew
    hub.put("datasets", DATA, files | {"data/train-00000-of-00001.parquet": _parquet(0, 40, side=150)})
    hub.cut_after = 300_000
    assert len(load_splits(_config())["train"]) == 36
    assert hub.ranges == ["bytes=300000-"]


def test_a_run_notes_the_commits_that_it_was_made_of(hub, root, files):
    hub.put("models", MODEL, _model_files(root), "v1")
    commit = hub.put("models", MODEL, _model_files(root) | {"README.md": b"newer"})
    config = _config(model__name=MODEL, model__revision="v1", train__epochs=1)
    run = fine_tune(config)
    revisions = run.environment["revisions"]
    assert revisions["model"] in hub.repositories["models", MODEL] and revisions["model"] != commit
    assert revisions["data"] in hub.repositories["datasets", DATA]
    hub.stop()
    evaluate(config, progress=False, resamples=20)  # "before training" loads the start weights again
    assert Run(config.folder).metrics("test")["overall"]


def test_adapters_do_not_go_on_upon_another_base(hub, root, monkeypatch):
    files = _model_files(root)
    commit = hub.put("models", MODEL, files)
    settings = {"model__name": MODEL, "model__lora": {"rank": 2}}
    fine_tune(_config(train__max_minutes=1e-6, **settings))
    hub.put("models", MODEL, files | {"README.md": b"newer"})
    with pytest.raises(RunError, match=f"model.revision={commit}"):
        fine_tune(_config(**settings))
    assert fine_tune(_config(model__revision=commit, **settings)).finished


def _data(name: str, revision: str | None = None):
    return load_splits(_config(data__source=name, data__revision=revision))


def _model(name: str, revision: str | None = None):
    return load_model(name, _config(model__name=name, model__revision=revision))


@pytest.mark.parametrize("load", [_data, _model])
def test_what_the_hub_refuses_is_one_line_that_says_what_to_do(hub, load, files):
    for kind in ("datasets", "models"):
        hub.put(kind, "someone/closed", files)
        hub.put(kind, "someone/open", files)
    hub.gated.add("someone/closed")
    for name, revision, message in (
        ("someone/closed", None, "asked for on its page"),
        ("someone/nowhere", None, "there is no 'someone/nowhere', or it is private"),
        ("someone/open", "never", "'someone/open' has no revision 'never'"),
    ):
        with pytest.raises((SourceError, ConfigError), match=message) as caught:
            load(name, revision)
        assert "\n" not in str(caught.value) and name in str(caught.value)


def test_no_connection_is_said_within_three_seconds(hub, monkeypatch):
    hub.stop()
    for place in (hub.url, "http://192.0.2.1"):  # nobody listens; nobody answers (RFC 5737)
        monkeypatch.setattr(constants, "ENDPOINT", place)
        for load in (lambda: load_splits(_config()), lambda: load_model(MODEL)):
            began = time.monotonic()
            with pytest.raises((SourceError, ConfigError), match="cannot be reached"):
                load()
            assert time.monotonic() - began < 3
    monkeypatch.setenv("http_proxy", hub.url)  # a proxy that is gone
    assert not reachable()


def test_the_notes_of_what_names_meant_go_with_the_cache(hub, root):
    load_splits(_config())
    cache = root / "outputs" / "cache" / "hub"
    assert DATA in next(iter(json.loads((cache / "commits.json").read_text())))
    from blipvqa.data.cache import clean_cache

    clean_cache(cache.parent)
    assert not cache.exists()
