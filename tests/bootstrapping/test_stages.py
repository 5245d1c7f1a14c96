"""CapFilt goes on where it stopped, notices what changed, takes a stranger's data, and has the paper's variants."""

import shutil

import numpy as np
import pytest
from PIL import Image
from test_capfilt import IMAGES, small

from blipvqa import Run, fine_tune
from blipvqa.bootstrapping import candidates, judging, rounds
from blipvqa.bootstrapping.folder import Groups
from blipvqa.bootstrapping.report import write_report
from blipvqa.bootstrapping.rounds import bootstrap, load_bootstrapped
from blipvqa.bootstrapping.stages import run_stage
from blipvqa.runs.run import RunError


def pre_trained(root):
    """The export of a pre-trained model, in the project `root`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLIPVQA_ROOT", str(root))
        return str(fine_tune(small("start", bootstrap__clean={})).model_folder)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """The export of a pre-trained model. Read only."""
    return pre_trained(tmp_path_factory.mktemp("start"))


def quick(start, name="tiny", **overrides):
    return small(name, bootstrap__start=start, train__epochs=1, **overrides)


def run(config):
    return bootstrap(config, resamples=10, progress=False)


def test_it_goes_on_after_a_kill_between_and_within_stages(root, start, monkeypatch):
    """Parts that were written and judged before are not written or judged again, and the outcome is the same."""
    monkeypatch.setattr(candidates, "PART", 5)
    whole = run(quick(start, "whole"))
    calls = {"predict": 0, "match_pairs": 0}

    def killed_at(module, name, number):
        real = getattr(module, name)

        def call(*arguments):
            calls[name] += 1
            if calls[name] == number:
                raise KeyboardInterrupt
            return real(*arguments)

        monkeypatch.setattr(module, name, call)

    killed_at(candidates, "predict", 2)
    with pytest.raises(KeyboardInterrupt):
        run(quick(start, "parts"))
    killed_at(judging, "match_pairs", 3)
    with pytest.raises(KeyboardInterrupt):
        run(quick(start, "parts"))
    parts = run(quick(start, "parts"))
    assert calls == {"predict": 1 + 3, "match_pairs": 1 + 3}  # three parts, and the one call that was cut short
    assert parts.texts == whole.texts and parts.rounds[0]["scores"] == whole.rounds[0]["scores"]
    lines = [(result.folder / "train.jsonl").read_text() for result in (whole, parts)]
    assert lines[0] == lines[1]


def test_a_stage_that_began_with_other_weights_is_refused_or_run_anew(root, start, tmp_path):
    mine = tmp_path / "start"
    shutil.copytree(start, mine)
    run(quick(str(mine)))
    other = fine_tune(small("other", bootstrap__clean={}, seed=3)).model_folder
    shutil.rmtree(mine)
    shutil.copytree(other, mine)
    with pytest.raises(RunError, match="run 'tiny-captioner' began with other weights"):
        run(quick(str(mine)))
    assert run(quick(str(mine), fresh=True)).texts
    assert len(list((root / "outputs").glob("tiny-captioner.*"))) == 1
    assert run(quick(str(mine))).texts  # and is then as it should be


def test_a_stage_put_together_of_other_weights_is_refused(root, start, tmp_path):
    """A folder with another vision tower in the place of the one that the pre-training began with was not noticed."""
    mine = tmp_path / "vision"
    shutil.copytree(start, mine)
    towers = {"vision": str(mine), "encoder": start, "decoder": start}
    config = small("together", bootstrap__clean={}, model__name=towers, train__epochs=0)
    run_stage(config)
    run_stage(config)  # nothing changed
    other = fine_tune(small("other", bootstrap__clean={}, seed=3, train__epochs=0)).model_folder
    shutil.rmtree(mine)
    shutil.copytree(other, mine)
    with pytest.raises(RunError, match="run 'together' began with other weights than"):
        run_stage(config)


def test_another_threshold_takes_no_data_from_the_run_that_was_trained_on_it(root, start):
    before = run(quick(start))
    text = (before.folder / "train.jsonl").read_text()
    middle = float(np.median([text["match"] for text in before.texts]))
    with pytest.raises(RunError, match="other texts are kept now than run 'tiny-bootstrapped'"):
        run(quick(start, bootstrap__threshold=middle))
    assert (before.folder / "train.jsonl").read_text() == text
    after = run(quick(start, bootstrap__threshold=middle, fresh=True))
    assert 0 < sum(text["kept"] for text in after.texts) < len(before.texts)
    assert (before.folder / "train.jsonl").read_text() != text and after.run.finished


def test_a_folder_of_kept_texts_that_somebody_edited_is_not_learnt(root, start):
    """As a kill before the pre-training leaves it, and then an editor."""
    result = run(quick(start))
    shutil.rmtree(result.run.folder)
    table, picture = result.folder / "train.jsonl", next((result.folder / "images").iterdir())
    text, pixels = table.read_text(), picture.read_bytes()
    table.write_text(text.replace("tissue", "tumour", 1))
    with pytest.raises(RunError, match="'tiny/bootstrapped' is not what was written there"):
        run(quick(start))
    table.write_text(text)
    Image.new("RGB", (48, 48), "red").save(picture)
    with pytest.raises(RunError, match="is not what was written there"):
        run(quick(start))
    picture.write_bytes(pixels)
    (result.folder / ".DS_Store").write_text("a system's own")
    assert run(quick(start)).run.finished


def test_a_page_of_some_rounds_says_that_others_are_to_come(root, start, monkeypatch):
    config = quick(start, bootstrap__rounds=2)
    real = rounds.run_stage

    def killed(stage):
        if stage.name == "tiny-round2-captioner":
            raise KeyboardInterrupt
        return real(stage)

    monkeypatch.setattr(rounds, "run_stage", killed)
    with pytest.raises(KeyboardInterrupt):
        run(config)
    assert "Round 1 of 2: the others are not done yet" in write_report(load_bootstrapped(config)).read_text()


def test_a_patient_has_one_number_however_it_is_spelled_and_nobody_has_none():
    groups = Groups()
    one = [groups.of({"image_id": str(i), "p": name}, "p") for i, name in enumerate(("P1", "p1 ", 7.0, "7"))]
    assert one[0] == one[1] != one[2] == one[3]
    unknown = [groups.of({"image_id": image_id, "p": "unknown"}, "p")["group"] for image_id in ("a", "b", "a")]
    assert unknown[0] == unknown[2] != unknown[1]


def test_several_filters_choose_a_threshold_on_the_same_pairs(root, start, monkeypatch):
    """Before, each judged wrong pairs of its own, and the mean was one of different pairs."""
    judged = []
    real = judging.match_pairs

    def noted(one, dataset, pairs, progress):
        judged.append((list(pairs), real(one, dataset, pairs, progress)))
        return judged[-1][1]

    monkeypatch.setattr(judging, "match_pairs", noted)
    result = run(quick(start, bootstrap__filters=2, bootstrap__wished_precision=0.3))
    (pairs, first), (same_pairs, second) = judged[-2:]  # after those of the texts
    assert pairs == same_pairs and first != second
    # the name that versions before `judge: both` gave: what they judged is not judged again
    assert (root / "outputs" / "tiny" / "answers" / "round1-validation-1.jsonl").exists()
    assert result.rounds[0]["threshold"] in [judging.mean_of(said, "match") for said in zip(first, second, strict=True)]


@pytest.mark.slow
def test_the_paper_s_variants(root, start):
    """Shared, by beams, in two rounds, of several members and texts, by a wish: each keeps what it should."""
    shared = run(quick(start, "shared", bootstrap__shared=True))
    assert Run(root / "outputs" / "shared-filter").config.task == "pretrain"
    assert not (root / "outputs" / "shared-captioner").exists() and shared.texts
    beam = run(quick(start, "beam", bootstrap__write="beam", bootstrap__rounds=2))
    assert len(beam.rounds) == 2 and beam.folder.name == "bootstrapped-2"
    assert Run(root / "outputs" / "beam-round2-filter").config.model.name == "outputs/beam-bootstrapped/model"
    assert beam.run.name == "beam-round2-bootstrapped"
    several = run(quick(start, "several", bootstrap__captioners=2, bootstrap__filters=2, bootstrap__captions=3))
    written = [text for text in several.texts if text["origin"] == "synthetic"]
    assert IMAGES["train"] < len(written) <= 6 * IMAGES["train"]
    assert len({(text["image_id"], text["caption"]) for text in written}) == len(written)
    one = run(quick(start, "one"))
    web = [[text["match"] for text in result.texts if text["origin"] == "web"] for result in (several, one)]
    assert web[0] != web[1]  # the mean of two filters
    wished = run(quick(start, "wished", bootstrap__wished_precision=0.3))
    assert wished.rounds[0]["threshold"] == pytest.approx(min(t["match"] for t in wished.texts), abs=0.5)
    with pytest.raises(RunError, match=r"bootstrap\.wished_precision 1\.0: no threshold"):
        run(quick(start, "too-much", bootstrap__wished_precision=1.0))
    with pytest.raises(RunError, match=r"the filter keeps none .* the surest match is 0\.\d+: lower"):
        run(quick(start, "one", bootstrap__threshold=1.0))
