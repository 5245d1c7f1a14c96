"""Configs: what is wrong is said at once, all of it, before anything is loaded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blipvqa import load_config
from blipvqa.config.knobs import ConfigError
from blipvqa.config.paths import project_path
from blipvqa.config.reading import parse_overrides, read_yaml, settings_difference


def test_every_problem_is_listed_with_its_dotted_name():
    with pytest.raises(ConfigError) as error:
        load_config(None, {"train.epoch": 3, "train.batch_size": 0, "model.image_size": "big", "data.where.x": 1})
    for key in ("train.epoch", "train.batch_size", "model.image_size"):
        assert key in str(error.value)
    assert "3 problems" in str(error.value)


@pytest.mark.parametrize(
    "text", ["- a\n- b", "a: &x [1]\nb: *x", "a: !!python/object/apply:os.system [ls]", "a: [", "just words"]
)
def test_a_file_that_is_no_plain_mapping_is_refused(root, text):
    (root / "c.yaml").write_text(text)
    with pytest.raises(ConfigError):
        load_config("c.yaml")


def test_a_yaml_bomb_is_refused_quickly():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"] + [
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 20)
    ]
    with pytest.raises(ConfigError, match="aliases"):
        read_yaml("\n".join(lines), "bomb")


def test_overrides_are_read_as_yaml(root):
    (root / "x.yaml").write_text("train: {epochs: 2}\n")
    pairs = ["train.learning_rate=5e-5", "data.limit={train: 10}", "train.patience=null", "data.source=a=b"]
    config = load_config("x.yaml", parse_overrides(pairs))
    assert config.name == "x"
    assert (config.train.epochs, config.train.learning_rate, config.data.limit) == (2, 5e-5, {"train": 10})
    assert config.data.source == "a=b"
    with pytest.raises(ConfigError, match="key=value"):
        parse_overrides(["train.epochs"])


def test_a_name_cannot_leave_the_outputs_folder():
    for name in ("../x", "/tmp/x", ".hidden", "a/b", ""):
        with pytest.raises(ConfigError):
            load_config(None, {"name": name})


def test_paths_start_at_the_project_root(root, monkeypatch):
    (root / "notebooks").mkdir()
    (root / "configs").mkdir()
    monkeypatch.delenv("BLIPVQA_ROOT")
    monkeypatch.chdir(root / "notebooks")
    assert project_path("configs/x.yaml") == root.resolve() / "configs" / "x.yaml"


@pytest.mark.parametrize(
    "overrides",
    [
        {"data.where": {"organ": float("inf")}},
        {"data.where": {"organ": [1, {}]}},
        {"train.learning_rate": float("inf")},
        {"train.label_smoothing": float("nan")},
    ],
)
def test_what_a_stored_config_could_not_hold_is_refused(overrides):
    with pytest.raises(ConfigError, match=next(iter(overrides)).replace(".", r"\.")):
        load_config(None, overrides)


def test_what_a_resumed_run_may_change():
    old = load_config(None, {"train.epochs": 2}).as_dict()
    assert not settings_difference(
        old, load_config(None, {"train.epochs": 2, "train.log_every": 3, "train.max_minutes": 1}).as_dict()
    )
    assert settings_difference(old, load_config(None, {"train.epochs": 4}).as_dict()) == {"train.epochs": (2, 4)}
    constant = [load_config(None, {"train.epochs": n, "train.schedule": "constant"}).as_dict() for n in (2, 4)]
    assert not settings_difference(*constant)


def test_every_config_of_the_project_is_valid(request):
    files = sorted((request.config.rootpath / "configs").glob("*.yaml"))
    assert {"demo", "pathvqa", "vqa-rad", "report"} <= {file.stem for file in files}
    for file in files:
        assert load_config(file).name == file.stem


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from(
        ["train.epochs", "data", "data.where", "model.scratch.layers", "name", "generate", "train.metric", "x.y"]
    ),
)
def test_any_value_is_taken_or_refused_by_name(value, key):
    try:
        config = load_config(None, {key: value})
    except ConfigError as error:
        assert str(error).startswith(("config has", "override"))
    else:
        assert load_config(None, config.as_dict()) == config
