"""What is taken away of a run's model: an export in whole numbers, and what goes to the Hub and what does not."""

import shutil

import pytest
import torch
from safetensors import safe_open

from blipvqa import Run, fine_tune, load_config, load_model, load_splits
from blipvqa.__main__ import main
from blipvqa.config.knobs import ConfigError
from blipvqa.errors import InputError
from blipvqa.models.folders import INT8, ModelError
from blipvqa.models.int8 import Int8Linear
from blipvqa.runs.run import RunError
from blipvqa.sharing import STAY, export_int8, push
from blipvqa.vqa.predictions import predict

REPOSITORY = "someone/answers"


@pytest.fixture
def own(finished, root):
    """A copy of the finished run, to change."""
    shutil.copytree(finished[0] / "outputs" / "tiny", root / "outputs" / "tiny")
    return Run(root / "outputs" / "tiny")


def test_an_int8_export_answers_alike_and_is_smaller(own):
    folder = export_int8(own)
    config = own.config
    data = load_splits(config)["test"]
    model, processor = load_model(str(folder), config)
    assert any(isinstance(module, Int8Linear) for module in model.modules())
    answers = [row["prediction"] for row in predict(model, processor, data, config, progress=False)]
    expected = [row["prediction"] for row in own.predictions("test")]
    same = sum(a == b for a, b in zip(answers, expected, strict=True))
    assert same / len(expected) > 0.9  # a model of 32 numbers a token, hardly trained
    with safe_open(folder / INT8, framework="pt") as file:
        names = list(file.keys())
        kinds = {file.get_slice(name).get_dtype() for name in names}
    assert kinds == {"I8", "F32"}
    assert (folder / INT8).stat().st_size < 0.8 * (own.model_folder / "model.safetensors").stat().st_size  # embeddings
    assert not (folder / "model.safetensors").exists()  # which plain transformers would read


def test_an_answer_in_whole_numbers_does_not_depend_on_its_batch(own):
    layer = torch.nn.Linear(32, 48)
    whole, x = Int8Linear(layer), torch.randn(7, 5, 32)
    torch.testing.assert_close(whole(x)[2:3], whole(x[2:3]), rtol=0, atol=0)
    torch.testing.assert_close(whole(x), layer(x), rtol=0.05, atol=0.03)
    assert whole(torch.zeros(1, 32)).isfinite().all()
    torch.testing.assert_close(whole(x.double()).float(), whole(x), rtol=0.05, atol=0.03)  # multiplied out


def test_an_int8_export_is_not_trained_and_a_damaged_one_not_read(own):
    folder = export_int8(own)
    with pytest.raises(ConfigError, match="can be asked and not trained"):
        fine_tune(load_config(None, own.config.as_dict() | {"model": {"name": str(folder), "image_size": 32}}, "b"))
    (folder / INT8).write_bytes((folder / INT8).read_bytes()[:-1000])
    with pytest.raises(ModelError, match="does not read"):
        load_model(str(folder))


def test_nothing_is_sent_until_one_says_so_and_then_it_loads_by_its_name(own, hub):
    lines = push(own, REPOSITORY)
    assert any("model.safetensors" in line for line in lines) and "Nothing was sent" in lines[-1]
    assert not hub.requests
    assert "holds words" in "".join(lines)
    assert "sent: " in push(own, REPOSITORY, send=True)[-1]
    sent = hub.repositories["models", REPOSITORY]["main"]
    assert set(sent) == {path.name for path in own.model_folder.iterdir()} - set(STAY)
    assert any("foreign.safetensors stays here" in line for line in lines)  # made of train's pictures
    model, _ = load_model(REPOSITORY)
    here, _ = load_model(str(own.model_folder))
    torch.testing.assert_close(model.state_dict(), here.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("stranger", ["predictions-test.jsonl", "slide.png", "train.csv", "pictures/1.png", "x.bin"])
def test_what_may_hold_data_is_refused_whole(own, hub, stranger):
    path = own.model_folder / stranger
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    with pytest.raises(InputError, match="may hold data"):
        push(own, REPOSITORY, send=True)
    assert not hub.requests


def test_data_under_a_model_s_name_is_refused_too(own, hub):
    shutil.copyfile(own.folder / "predictions-test.jsonl", own.model_folder / "model.safetensors")
    with pytest.raises(RunError):  # its weights are not those that were exported
        push(own, REPOSITORY, send=True)
    (own.model_folder / "model.safetensors").unlink()
    (own.model_folder / "model.safetensors").symlink_to(own.folder / "predictions-test.jsonl")
    with pytest.raises(RunError):
        push(own, REPOSITORY, send=True)
    assert not hub.requests


def test_a_shell_says_in_one_line_what_cannot_be_sent(own, hub, capsys):
    hub.stop()
    for arguments, message in (
        (["--name", "tiny", "--repo", "no-id"], "is no Hub id"),
        (["--name", "tiny", "--repo", REPOSITORY, "--send"], "cannot be reached. Nothing was sent"),
        (["--name", "never", "--repo", REPOSITORY], "there is no run 'never'"),
    ):
        assert main(["push", *arguments]) == 2
        assert message in capsys.readouterr().err
    (own.folder / "state.json").write_text("{}")
    with pytest.raises(RunError, match="is not finished"):
        push(own, REPOSITORY)
    assert main(["export", "--name", "tiny", "--form", "int8"]) == 0
    assert "model-int8" in capsys.readouterr().out
