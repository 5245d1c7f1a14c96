"""Configs: what is wrong is said at once, all of it, before anything is loaded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blipvqa import load_config
from blipvqa.config.knobs import ConfigError
from blipvqa.config.paths import project_path
from blipvqa.config.plain_yaml import parse_yaml, write_yaml
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
        assert str(error).startswith(("config has", "key"))
    else:
        assert load_config(None, config.as_dict()) == config


def test_nested_overrides_say_the_same_as_dotted_ones(root):
    (root / "x.yaml").write_text("train: {epochs: 5, batch_size: 8}\ndata: {limit: {train: 10, test: 3}}\n")
    nested = load_config("x.yaml", {"train": {"epochs": 1}, "data": {"limit": {"train": 7}}})
    dotted = load_config("x.yaml", {"train.epochs": 1, "data.limit.train": 7})
    assert nested == dotted
    assert (nested.train.epochs, nested.train.batch_size, nested.data.limit) == (1, 8, {"train": 7, "test": 3})
    assert load_config("x.yaml", {"data.limit": {}}).data.limit == {}
    assert load_config(None, {"data.where": {"patient.id": 3}}).data.where == {"patient.id": 3}
    with pytest.raises(ConfigError, match=r"train\.epochs' is set twice"):
        load_config("x.yaml", {"train": {"epochs": 1}, "train.epochs": 2})


@pytest.mark.parametrize(
    "text", ["no", "yes", "on", "off", "y", "012", "0x1f", "1_000", "12:30", "2024-01-01", "=", "<<"]
)
def test_yaml_1_1_changes_no_text(root, text):
    """What YAML 1.1 reads as false, 10, 31, 1000, 750 or a date is a text, in files and in overrides."""
    (root / "x.yaml").write_text(f"data: {{source: {text}, where: {{{text}: [{text}]}}}}\n")
    for config in (load_config("x.yaml"), load_config(None, parse_overrides([f"data.source={text}"]))):
        assert config.data.source == text
    assert load_config("x.yaml").data.where == {text: [text]}
    for knob in ("train.epochs", "train.learning_rate", "train.shuffle"):
        with pytest.raises(ConfigError, match=rf"{knob}: expected .* \(found '{text}'\)"):
            load_config(None, parse_overrides([f"{knob}={text}"]))


@pytest.mark.parametrize(
    "text", ["no", "012", "1e5", "5e-5", "null", "true", "3", "", "a: b", "- x", "1.", "\x07", "é\u2028"]
)
def test_a_text_survives_being_written_and_read(text):
    assert parse_yaml(write_yaml({text: [text]})) == {text: [text]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "key 'a' stands on lines 1 and 3"),
        ("a: !!int '3'", "tags"),
        ("a: &x 3", "anchors"),
        ("? [a]\n: 1", "unhashable"),
        ("[" * 5000, "nested too deeply"),
    ],
)
def test_yaml_that_says_more_than_values_is_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        read_yaml(text, "config")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"train.epochs": True}, "expected a whole number (found true)"),
        ({"train.epochs": "3"}, "expected a whole number (found '3')"),
        ({"train.epochs": None}, "leave the line out for the default (found null)"),
        ({"train": None}, "expected a section of keys and values; leave the line out for the default (found null)"),
        ({"data.group_column": 3}, "expected text; put it in quotes (found 3)"),
        (
            {"data.cache_dir": ""},
            "data.cache_dir: expected a text that is not empty; leave the line out for the default",
        ),
        ({"data.source": ""}, "data.source: expected a text that is not empty"),
        ({"data.answer_separator": ""}, "data.answer_separator: expected a text that is not empty"),
        ({"model.name": ""}, "model.name: expected a text that is not empty"),
        ({"train.epoch": 3}, "train.epoch: unknown key, did you mean train.epochs?"),
        ({"train.lr": 3}, "train.lr: unknown key, did you mean train.learning_rate?"),
        ({"epochs": 3}, "epochs: unknown key, did you mean train.epochs?"),
        ({"train.image_size": 64}, "train.image_size: unknown key, did you mean model.image_size?"),
        ({"trian.epochs": 3}, "trian: unknown key, did you mean train?"),
        ({"data.synthetic.size": 513}, "data.synthetic.size: Input should be less than or equal to 512"),
    ],
)
def test_a_problem_says_what_was_expected_and_what_may_have_been_meant(overrides, message):
    with pytest.raises(ConfigError) as error:
        load_config(None, overrides)
    assert message in str(error.value)


def test_knobs_that_do_not_fit_are_named_beside_misspelt_ones():
    overrides = {"trian": 1, "train.micro_batch_size": 7, "model.name": "scratch", "model.image_size": 30}
    with pytest.raises(ConfigError) as error:
        load_config(None, overrides)
    assert "3 problems" in str(error.value)
    assert "model.image_size 30 is not a multiple of model.scratch.patch_size 8" in str(error.value)
    assert "train.batch_size 64 is not a multiple of train.micro_batch_size 7" in str(error.value)


def test_a_config_from_before_a_knob_was_added_is_the_same_config():
    new = load_config().as_dict()
    old = {key: value for key, value in new.items() if key != "task"}
    assert not settings_difference(old, new)
    assert load_config(None, old).task == "vqa"


def test_several_settings_in_one_text_may_hold_spaces_and_braces():
    text = "data.source=my folder/a set data.columns={img_name: image, q: question} train.epochs=2  name=mine"
    assert parse_overrides([text]) == {
        "data.source": "my folder/a set",
        "data.columns": {"img_name": "image", "q": "question"},
        "train.epochs": 2,
        "name": "mine",
    }
    assert parse_overrides(["caption.prompt=where x=1 is", "train.epochs=2"])["caption.prompt"] == "where x=1 is"


def test_a_notebook_that_lies_elsewhere_is_told_how_to_find_the_project(tmp_path, monkeypatch, request):
    monkeypatch.delenv("BLIPVQA_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="set BLIPVQA_ROOT to the folder"):
        load_config("configs/demo.yaml")
    monkeypatch.setenv("BLIPVQA_ROOT", str(request.config.rootpath))
    assert load_config("configs/demo.yaml").name == "demo"
    with pytest.raises(ConfigError) as caught:
        load_config("configs/never.yaml")
    assert "BLIPVQA_ROOT" not in str(caught.value)
