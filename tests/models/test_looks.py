"""Values of a device that comes late: the same texts, few tokens for nobody, and batches that take turns."""

import pytest
import torch
from conftest import REFERENCE

from blipvqa.models.captioner import BlipForCaptioning
from blipvqa.models.decoding import Rules, Writer, write
from blipvqa.models.looks import AHEAD, Look, in_turns
from blipvqa.models.sampling import drawn_by

SEP = 3


@pytest.fixture(scope="module")
def model():
    return BlipForCaptioning.from_pretrained(REFERENCE / "blip-tiny-caption").eval()


@pytest.fixture
def late(monkeypatch):
    """Nothing is there before it is waited for."""
    return lambda: monkeypatch.setattr(Look, "is_there", lambda self: False)


def written(model, longest: int, **how) -> tuple[list[list[int]], int]:
    """Texts of twelve memories, without padding, and how many tokens were written."""
    states = torch.randn(12, 17, model.config.vision_config.hidden_size, generator=torch.Generator().manual_seed(1))
    writer, calls = Writer(model.text_decoder, states, longest), []
    logits = writer.logits
    writer.logits = lambda ids: calls.append(ids) or logits(ids)
    if how.pop("drawn", False):
        how["choose"] = drawn_by(range(12), 50, 0.9)
    with torch.no_grad():
        texts = write(writer, torch.tensor([209, 11]), Rules(longest, 1, 1.0, SEP, 0), **how)
    return [[token for token in row if token] for row in texts.tolist()], len(calls)


@pytest.mark.parametrize("likelier_end", [0.0, 3.0, 6.0])
@pytest.mark.parametrize("how", [{}, {"beams": 3}, {"drawn": True}], ids=["greedy", "beams", "drawn"])
def test_a_device_that_comes_late_writes_the_same_and_few_tokens_more(model, late, how, likelier_end, monkeypatch):
    bias = model.text_decoder.cls.predictions.bias
    monkeypatch.setattr(bias, "data", bias.data.index_add(0, torch.tensor([SEP]), torch.tensor([likelier_end])))
    (texts, tokens), (short, _) = written(model, 40, **how), written(model, 6, **how)
    late()
    late_texts, late_tokens = written(model, 40, **how)
    assert late_texts == texts
    assert written(model, 6, **how)[0] == short
    assert tokens <= late_tokens <= tokens + AHEAD and AHEAD <= 9


def stages(name: int, log: list[tuple[int, int]]):
    for stage in range(3):
        log.append((name, stage))
        (value,) = yield Look(torch.tensor(10 * name + stage))
        assert value == 10 * name + stage
    log.append((name, 3))
    return name


def test_batches_take_turns_where_values_are_late_and_only_there(late):
    log = []
    assert list(in_turns(stages(i, log) for i in range(3))) == [0, 1, 2]
    assert log == [(i, stage) for i in range(3) for stage in range(4)]
    late()
    log.clear()
    assert list(in_turns(stages(i, log) for i in range(4))) == [0, 1, 2, 3]
    assert log[:4] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert all(log.index((i, 0)) < log.index((i - 1, 3)) for i in (1, 2, 3))  # begun before the last values are read


def test_a_result_is_handed_over_as_soon_as_it_is_there():
    """Who writes them down has lost none when the next one fails."""
    log = []

    def fails():
        raise RuntimeError("the second fails")
        yield

    results = in_turns(work() for work in (lambda: stages(0, log), fails))
    assert next(results) == 0
    with pytest.raises(RuntimeError, match="the second fails"):
        next(results)
