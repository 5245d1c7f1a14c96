"""A project of its own for each test that runs something: its root is a temporary folder."""

import ctypes
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image
from stand_in_hub import Hub

import blipvqa  # which loads nothing before it is asked: the process that shares out the tests would load torch first

settings.register_profile("any machine", deadline=None)  # a busy machine is slow, which is no failure
settings.load_profile("any machine")

REFERENCE = Path(__file__).resolve().parent / "reference"  # the authors' numbers: see its README
VQA_RAD_SAMPLE = Path(__file__).resolve().parent / "data" / "vqa-rad"  # a dozen real pictures: see its README
SHARED = Path(__file__).resolve().parents[1].parent / "shared"  # what is too large for the repository; often missing


def needs_shared(name: str) -> pytest.MarkDecorator:
    """Skips a test where `../shared/<name>`, which the repository does not hold, is missing."""
    return pytest.mark.skipif(not (SHARED / name).exists(), reason=f"needs ../shared/{name}, which no clone holds")


TINY = {
    "data.synthetic": {"images": {"train": 24, "validation": 6, "test": 6}, "size": 48},
    "model.name": "scratch",
    "model.image_size": 32,
    "model.scratch": {"hidden_size": 32, "layers": 1, "heads": 2, "patch_size": 8, "vocabulary": 400},
    "train.epochs": 2,
    "train.batch_size": 24,
    "train.learning_rate": 1e-3,
    "train.samples": 4,
    "train.log_every": 1,
    "generate.max_new_tokens": 6,
}


def text_of(section) -> str:
    """What stands in a section of a page, as markup."""
    return "".join(map(str, section.parts))


def write_forged(run: "blipvqa.Run", scores: dict, predictions: list[dict] | None = None) -> None:
    """Scores and predictions of a run as if `evaluate` had written them."""
    from blipvqa.training.trained import write_results

    predictions = run.predictions("test") if predictions is None else predictions
    write_results(run, scores | {"split": "test"}, predictions, run.config, None)


LONGEST = (  # begun first: a file that begins last is run by one process while the other has nothing left
    "test_notebooks.py",
    "test_kills.py",
    "test_stopping.py",
    "test_strange_pages.py",
    "test_shares.py",
    "test_seals.py",
    "test_stages.py",
    "test_pair_pages.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, in their order; what has none of their names stays as it was."""
    rank = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """The project's root for this test."""
    monkeypatch.setenv("BLIPVQA_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def folder(root) -> Path:
    """A source's folder, `mine`, with twenty pictures in `images`, to put tables in."""
    place = root / "mine"
    (place / "images").mkdir(parents=True)
    for i in range(20):
        noise = np.random.default_rng(i).integers(0, 255, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(noise).save(place / "images" / f"{i}.png")
    return place


@pytest.fixture
def permissions_count():
    """Tests may run as root, whom permissions do not stop: this thread gives up that privilege for a while."""
    if os.geteuid():
        yield
        return
    libc, header, own = ctypes.CDLL(None, use_errno=True), (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, own) == 0
    fewer = (ctypes.c_uint32 * 6)(*own)
    fewer[0] &= ~0b111  # CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, effective
    assert libc.capset(header, fewer) == 0
    yield
    assert libc.capset(header, own) == 0


@pytest.fixture
def tiny(root):
    """`tiny(name, **overrides)`: a config that trains in a second; dots in keys are written `__`."""

    def make(name="tiny", **overrides):
        return blipvqa.load_config(
            None, TINY | {key.replace("__", "."): value for key, value in overrides.items()}, name
        )

    return make


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """(root, config) of a tiny run, trained and evaluated. Read only."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLIPVQA_ROOT", str(folder))
        config = blipvqa.load_config(None, TINY | {"train.epochs": 12}, "tiny")
        blipvqa.fine_tune(config)
        blipvqa.evaluate(config, progress=False, resamples=50)
    return folder, config


@pytest.fixture
def done(finished, monkeypatch):
    """The config of the finished run, with its folder as the project's root."""
    monkeypatch.setenv("BLIPVQA_ROOT", str(finished[0]))
    return finished[1]


@pytest.fixture
def hub(root, monkeypatch):
    """A stand-in that the clients in this process take for the Hub; their cache is empty."""
    import datasets
    import huggingface_hub.constants as constants
    from huggingface_hub import HfFileSystem

    hub = Hub()
    for module, name, value in (
        (constants, "ENDPOINT", hub.url),
        (constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"),
        (constants, "HF_HUB_CACHE", str(root / "hub")),
        (constants, "HF_HUB_OFFLINE", False),
        (constants, "HF_HUB_DISABLE_XET", True),  # a protocol of its own, which the stand-in does not speak
        (datasets.config, "HF_ENDPOINT", hub.url),
        (datasets.config, "HUB_DATASETS_URL", hub.url + "/datasets/{repo_id}/resolve/{revision}/{path}"),
        (datasets.config, "HF_HUB_OFFLINE", False),
    ):
        monkeypatch.setattr(module, name, value)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    HfFileSystem.clear_instance_cache()  # which remembers another Hub
    with hub.running():
        yield hub
    HfFileSystem.clear_instance_cache()
