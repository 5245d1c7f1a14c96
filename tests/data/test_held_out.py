"""`data.without`: what another source validates or scores on is left out of train, by pixels and by patient."""

import json
from pathlib import Path

import pytest
from PIL import Image

from blipvqa import load_config, load_splits
from blipvqa.bootstrapping.stages import plan
from blipvqa.config.knobs import ConfigError
from blipvqa.config.plain_yaml import parse_yaml, write_yaml
from blipvqa.config.reading import parse_overrides, settings_difference, with_overrides
from blipvqa.data.dataset import VQADataset
from blipvqa.data.images import DECODER
from blipvqa.data.split_names import SourceError


@pytest.fixture
def sources(root, folder):
    """Folders `mine` and `other`, each with the same twenty pictures, saved differently; a function that writes which of
    them stand in a split, and of whom they are."""
    (root / "other" / "images").mkdir(parents=True)
    for path in (folder / "images").iterdir():
        Image.open(path).save(root / "other" / "images" / path.name, compress_level=0)

    def write(source, split, pictures, patients=None, text="question"):
        rows = [{"image": f"images/{i}.png", text: f"what is {i}?", "answer": f"it is {i}"} for i in pictures]
        for row, patient in zip(rows, patients or (), strict=False):
            row["patient"] = patient
        (root / source / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    return write


def config_of(**data):
    settings = {"data.source": "mine", "model.name": "scratch", "model.image_size": 32}
    return load_config(None, settings | {f"data.{key}": value for key, value in data.items()}, "apart")


def train_of(config):
    """(names of train's pictures, what is noted of those that were left out)."""
    splits = load_splits(config)
    names = [Path(splits["train"].image_path(i)).stem for i in range(len(splits["train"]))]
    return names, [note for note in splits.notes if "data.without" in note]


def test_what_another_source_holds_out_is_left_out_by_its_pixels(sources):
    """Its own train may stand in train; so may, elsewhere than in train, what it holds out."""
    sources("mine", "train", range(8))
    sources("mine", "validation", [8, 9])
    sources("other", "train", [0, 1, 10])
    sources("other", "validation", [2, 11])
    sources("other", "test", [3, 8])
    assert len(train_of(config_of())[0]) == 8
    names, notes = train_of(config_of(without={"source": "other"}))
    assert names == ["0", "1", "4", "5", "6", "7"]
    assert notes == ["train: 2 of 8 rows are left out: data.without holds out their pictures or patients"]
    assert len(load_splits(config_of(without={"source": "other"}))["validation"]) == 2


def test_a_patient_is_left_out_with_all_pictures_where_both_name_patients(sources):
    """Also one of whom the other source shows a picture without a name."""
    sources("mine", "train", range(8), ["P1", "P1", "P2", "P2", "P3", "P3", None, None])
    sources("mine", "validation", [9], ["P9"])
    sources("other", "train", [12], ["P3"])
    sources("other", "validation", [14], ["P4"])
    sources("other", "test", [13, 2], ["p1 ", ""])
    named = {"source": "other", "group_column": "patient"}
    assert train_of(config_of(group_column="patient", without=named))[0] == ["4", "5", "6", "7"]
    assert train_of(config_of(without=named))[0] == ["0", "1", "3", "4", "5", "6", "7"]
    renamed = config_of(columns={"patient": "who"}, group_column="patient", without=named)
    assert train_of(renamed)[0] == ["4", "5", "6", "7"]  # rows call it `who`


def test_a_source_of_another_task_is_read_by_its_pictures(sources):
    sources("mine", "train", range(4), text="caption")
    sources("mine", "validation", [9], text="caption")
    sources("other", "train", [12])
    sources("other", "validation", [14])
    sources("other", "test", [2])
    settings = {"task": "pretrain", "data.source": "mine", "model.image_size": 32}
    other = {"source": "other", "columns": {"question": "caption"}}
    assert train_of(load_config(None, settings | {"data.without": other}, "apart"))[0] == ["0", "1", "3"]


def test_pixels_are_read_of_pictures_that_may_be_held_out_alone(sources, monkeypatch):
    """All of train's were read and hashed at every load: of 100,000 pictures 44 GB."""
    sources("mine", "train", range(8))
    sources("mine", "validation", [9])
    sources("other", "train", [12])
    sources("other", "validation", [14])
    sources("other", "test", [2, 3])
    config = config_of(without={"source": "other"})
    expected, read, real = train_of(config), [], VQADataset.pixels
    monkeypatch.setattr(VQADataset, "pixels", lambda self, *place: read.append(self.split) or real(self, *place))
    assert train_of(config) == expected and sorted(read) == ["test", "test", "train", "train", "validation"]
    unwritable = config_of(without={"source": "other"}, cache_dir="theirs")
    (config.folder.parents[1] / "theirs" / "images").mkdir(parents=True)
    (config.folder.parents[1] / "theirs" / "images" / f"32px-{DECODER}").write_text("")  # no store: none is known
    assert train_of(unwritable) == expected


def test_what_the_other_source_leaves_out_itself_does_not_count(sources):
    """CapFilt's first pre-training could not begin where bootstrap.clean says `without`."""
    clean = {"source": "other", "without": {"source": "third"}}
    config = load_config(None, {"task": "pretrain", "data.source": "mine", "bootstrap.clean": clean}, "apart")
    assert plan(config, apart=True)[0].pretrained.data.without.model_dump(exclude_unset=True) == {"source": "other"}


def test_nothing_that_is_left_is_told(sources):
    sources("mine", "train", [0, 1])
    sources("mine", "validation", [9])
    sources("other", "train", [5])
    sources("other", "validation", [14])
    sources("other", "test", [0, 1])
    with pytest.raises(SourceError, match=r"data\.without leaves nothing of train: 'other' holds out every picture"):
        load_splits(config_of(without={"source": "other"}))


@pytest.mark.parametrize(
    ("without", "message"),
    [
        ({"sauce": "other"}, "data.without.sauce: unknown key"),
        ({"source": 3}, "data.without.source: expected text"),
        ({"source": "other", "limit": {"train": 0}}, "data.without.limit.train"),
        ({"source": "other", "without": {"source": "third"}}, "without: has a `without` of its own"),
        ({}, "without: says nothing, expected the `data` of another source"),
        ("other", "data.without"),
    ],
)
def test_what_cannot_be_another_source_is_refused_when_the_config_is_read(root, without, message):
    with pytest.raises(ConfigError, match=message):
        config_of(without=without)


def test_a_run_keeps_what_was_said_of_the_other_source_and_no_more(root):
    config, older = config_of(without={"source": "other"}), config_of().as_dict()
    assert config.as_dict()["data"]["without"] == {"source": "other"}
    assert load_config(None, parse_yaml(write_yaml(config.as_dict())), "apart") == config
    del older["data"]["without"]  # of a version that did not know it
    assert settings_difference(older, config_of().as_dict()) == {}
    assert settings_difference(older, config.as_dict())["data.without.source"] == (None, "other")


def test_its_knobs_may_be_dotted_as_those_of_data(root):
    """`--set data.without.columns.img=image` was an unknown key `columns.img`."""
    dotted = parse_overrides(
        ["data.without.source=other", "data.without.columns.my.img=image", "data.without.synthetic.images.train=3"]
    )
    without = config_of_file({"columns": {"text": "question"}}, dotted).data.without.model_dump(exclude_unset=True)
    assert without["columns"] == {"text": "question", "my.img": "image"} and without["source"] == "other"
    assert without["synthetic"]["images"] == {"train": 3}
    assert load_config(None, {"data.without.where.kind": "x"}, "apart").data.without.where == {"kind": "x"}
    assert config_of_file({"source": "other"}, {"data.without": None}).data.without is None
    with pytest.raises(ConfigError, match=r"data\.without\.sauce: unknown key"):
        load_config(None, {"data.without.sauce": "x"}, "apart")


def config_of_file(without, overrides):
    return with_overrides(config_of(without=without).as_dict(), overrides)
