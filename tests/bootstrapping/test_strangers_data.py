"""CapFilt of a person's own folders: what is left out, what is marked, what is refused, and no name in what is kept."""

import json

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from test_capfilt import small
from test_stages import pre_trained, quick, run

from blipvqa import fine_tune, load_splits
from blipvqa.bootstrapping import rounds
from blipvqa.bootstrapping.report import NO_TRUTH, write_report
from blipvqa.bootstrapping.rounds import load_bootstrapped
from blipvqa.bootstrapping.stages import clean_config, plan
from blipvqa.config.knobs import ConfigError
from blipvqa.data.checking import NO_TEST
from blipvqa.pages.html import escape
from blipvqa.runs.run import RunError

WORDS = ("dense", "sparse", "silver", "pale", "gland", "vessel", "fat", "left", "right", "upper")


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """The export of a pre-trained model. Read only."""
    return pre_trained(tmp_path_factory.mktemp("start"))


@pytest.fixture
def own(root):
    """Folders of a person's own, `noisy` and `clean`: two pictures are the same, and patients are named in the files."""
    for name, first in (("noisy", 0), ("clean", 10)):
        (root / name).mkdir()
        rows = []
        for i in range(first, first + 12):  # clean holds out 10 to 13, of patients 5, 6 and 0
            info = PngInfo()
            info.add_text("PatientName", "DOE^JANE")
            noise = np.random.default_rng(i).integers(0, 255, (24, 24, 3), dtype=np.uint8)
            Image.fromarray(noise).save(root / name / f"DOE_JANE_{i}.png", pnginfo=info)
            text = f"{WORDS[i % 10]} tissue {WORDS[(3 * i) % 10]}"
            rows.append(
                {
                    "image": f"DOE_JANE_{i}.png",
                    "caption": text,
                    "patient": f"doe-{0 if i == 13 else i // 2}",
                    "match": 1,
                }
            )
        cut = 8 if name == "clean" else 12
        for split, of_split in (("train", rows[-cut:]), ("validation", rows[:-cut])):
            if of_split:
                (root / name / f"{split}.jsonl").write_text("\n".join(map(json.dumps, of_split)))
    return root


def test_a_stranger_s_data_goes_without_names_and_without_what_is_held_out(own, start, capsys):
    settings = {"data__source": "noisy", "data__group_column": "patient", "train__batch_size": 4}
    clean = {"source": "clean", "group_column": "patient"}
    result = run(quick(start, **settings, bootstrap__clean=clean))
    held_out = {row["image_id"] for row in load_splits(plan(result.config)[0].filters[0])["validation"].rows}
    assert len(held_out) == 4 and not held_out & {text["image_id"] for text in result.texts}
    assert {text["patient"] for text in result.texts} <= {f"doe-{number}" for number in (1, 2, 3, 4)}
    left_out = "4 of 10 texts are left out: bootstrap.clean holds out their pictures or patients"
    assert left_out in capsys.readouterr().out and left_out in result.rounds[0]["scores"]["warnings"]
    files = [path for path in result.folder.rglob("*") if path.is_file()]
    assert not any(b"DOE" in path.read_bytes() or "DOE" in path.name for path in files)
    rows = [json.loads(line) for line in (result.folder / "train.jsonl").read_text().splitlines()]
    assert all(row.keys() == {"image", "caption", "origin", "match", "group"} for row in rows)
    assert not any("doe" in row["group"] for row in rows)
    assert result.run.config.data.group_column == "group"
    page = write_report(result).read_text()
    assert "filter" not in result.rounds[0]["scores"] and NO_TRUTH in page
    assert NO_TEST in result.data.notes and NO_TEST.split(":")[0] not in page  # nothing is scored on the data in doubt
    assert result.notes and all(str(escape(note)) in page for note in result.notes)


def test_a_held_out_picture_is_left_out_whatever_its_file_says_beside_its_pixels(own, start):
    """Another export of a test picture, with other metadata, was in training and, stripped, the very same picture."""
    for picture in (own / "noisy").glob("*.png"):
        Image.open(picture).save(picture, compress_level=1)  # without its text
    config = quick(start, data__source="noisy", bootstrap__clean={"source": "clean"})
    data, clean = load_splits(config), load_splits(clean_config(config))
    held_out = {row["image_id"] for row in clean["validation"].rows}
    assert not held_out & {row["image_id"] for row in data["train"].rows}
    left = rounds._without_held_out(data["train"], clean)
    names = {left.image_path(i) for i in range(len(left))}
    assert len(data["train"]) - len(left) == 2 and not names & {"DOE_JANE_10.png", "DOE_JANE_11.png"}


def test_the_first_pre_training_learns_no_picture_that_the_clean_pairs_hold_out(own, monkeypatch):
    """It read all of data.source: captioner and filter began with a model that had seen what they are scored on, and
    what validation chooses a threshold by."""
    read = {}
    monkeypatch.setattr(
        rounds, "_round", lambda one, *rest: read.update({one.number: one}) or {"scores": {"warnings": []}}
    )
    monkeypatch.setattr(rounds, "load_bootstrapped", lambda *all_of_it: None)
    run(small(data__source="noisy", bootstrap__clean={"source": "clean"}, bootstrap__rounds=2))
    pretrained = load_splits(read[1].pretrained)
    names = {pretrained["train"].image_path(i) for i in range(len(pretrained["train"]))}
    assert len(pretrained["train"]) + len(pretrained["validation"]) == 10
    assert not names & {"DOE_JANE_10.png", "DOE_JANE_11.png"}
    assert any("data.without holds out their pictures" in note for note in pretrained.notes)
    assert read[2].pretrained is None  # it begins with what was bootstrapped, without them


def test_members_of_other_seeds_hold_out_the_same_pairs(own):
    """The second filter cut a validation of its own: it had learnt what the threshold is chosen by."""
    (own / "clean" / "validation.jsonl").unlink()
    one = plan(small(data__source="noisy", bootstrap__clean={"source": "clean"}, bootstrap__filters=3))[0]
    held_out = [[row["image_id"] for row in load_splits(member)["validation"].rows] for member in one.filters]
    assert len({member.seed for member in one.filters}) == 3 and held_out[0] == held_out[1] == held_out[2]


def test_a_source_that_leaves_out_another_one_s_pictures_too_is_refused(own):
    without = {"data__source": "noisy", "data__without": {"source": "clean"}}
    with pytest.raises(ConfigError, match=r"data\.without is of one other source, and bootstrap\.clean"):
        plan(small(**without, bootstrap__clean={"source": "clean"}), apart=True)
    plan(small(**without, bootstrap__clean={"source": "clean"}))


def test_pictures_that_look_like_held_out_ones_are_warned_of(own, start, capsys):
    """Only equal pixels are left out: one that was saved anew as a JPEG was learnt, unsaid."""
    Image.open(own / "clean" / "DOE_JANE_12.png").resize((96, 96)).save(own / "noisy" / "again.jpg", quality=90)
    with open(own / "noisy" / "train.jsonl", "a") as table:
        table.write('\n{"image": "again.jpg", "caption": "dense tissue"}')
    result = run(quick(start, data__source="noisy", train__batch_size=4, bootstrap__clean={"source": "clean"}))
    warning = "1 picture of the validation pairs of bootstrap.clean looks like another of data.source"
    assert warning in capsys.readouterr().out
    assert any(line.startswith(warning) for line in result.rounds[0]["scores"]["warnings"])
    assert warning in write_report(result).read_text()


def test_what_was_bootstrapped_is_not_shown_with_other_data(own, start):
    """Its pictures would be missing, or stand at texts that they no longer have."""
    clean = {"source": "clean", "group_column": "patient"}
    settings = {"data__source": "noisy", "data__group_column": "patient", "train__batch_size": 4}
    config = quick(start, **settings, bootstrap__clean=clean)
    before = run(config)
    write_report(load_bootstrapped(config))
    table, picture = own / "noisy" / "train.jsonl", own / "noisy" / "DOE_JANE_7.png"
    text, pixels = table.read_text(), picture.read_bytes()
    table.write_text(text.replace("tissue", "tumour", 1))
    with pytest.raises(RunError, match=r"made with other data than there is now \(data\.source\)"):
        load_bootstrapped(config)
    table.write_text(text)
    clean_table = own / "clean" / "validation.jsonl"
    clean_text = clean_table.read_text()
    clean_table.write_text(clean_text.replace("tissue", "tumour", 1))
    with pytest.raises(RunError, match=r"made with other data than there is now \(bootstrap\.clean\)"):
        load_bootstrapped(config)
    clean_table.write_text(clean_text)
    Image.open(picture).transpose(Image.Transpose.ROTATE_90).save(picture)
    with pytest.raises(RunError, match="made with other data"):
        load_bootstrapped(config)
    with pytest.raises(RunError, match="since settings, models or data changed"):
        run(config)
    picture.write_bytes(pixels)
    assert run(config).texts == before.texts


def test_what_a_model_wrote_before_stays_its_word_in_both_sources(own, start):
    """A text of an earlier bootstrap was called a person's where it came with the clean pairs; among those in doubt a
    column `origin` ended in a TypeError, and one called `right` was taken for the truth."""
    for name in ("noisy", "clean"):
        for table in (own / name).glob("*.jsonl"):
            rows = [json.loads(line) for line in table.read_text().splitlines()]
            told = [{**row, "right": True, "origin": "synthetic" if i % 2 else "web"} for i, row in enumerate(rows)]
            table.write_text("\n".join(map(json.dumps, told)))
    result = run(quick(start, data__source="noisy", train__batch_size=4, bootstrap__clean={"source": "clean"}))
    assert [text["origin"] for text in result.texts][:3] == ["web", "synthetic", "web"]
    assert "filter" not in result.rounds[0]["scores"]
    files = {split: (result.folder / f"{split}.jsonl").read_text() for split in ("train", "validation")}
    rows = {split: [json.loads(line) for line in text.splitlines()] for split, text in files.items()}
    assert [row["origin"] for row in rows["validation"]] == ["human", "synthetic"] * 2
    assert [row["origin"] for row in rows["train"]][:8] == ["human", "synthetic"] * 4
    written = sum(row["origin"] == "synthetic" for row in rows["train"])
    card = (result.folder / "README.md").read_text()
    assert f"**{written:,} of the {len(rows['train']):,} texts of train were written by a model**" in card
    assert "| synthetic, of the clean pairs | 4 | 4 |" in card


def test_no_threshold_is_chosen_where_no_pair_is_wrong(root, own, start, monkeypatch):
    """All texts of validation are one: every picture is right for it, and any threshold has a precision of 1. It was
    told after the filter was trained."""
    table = own / "clean" / "validation.jsonl"
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    table.write_text("\n".join(json.dumps({**row, "caption": "no finding"}) for row in rows * 3))
    settings = {"data__source": "noisy", "train__batch_size": 4, "bootstrap__shared": True}
    monkeypatch.setattr(rounds, "run_stage", lambda stage: pytest.fail(f"{stage.name} was trained"))
    with pytest.raises(RunError, match="there is no wrong pair to choose a threshold by"):
        run(quick(start, **settings, bootstrap__clean={"source": "clean"}, bootstrap__wished_precision=0.9))


COUNTS_NONE = (
    r"bootstrap\.captioner: 'cider_d' \(train\.metric\) counts none of the 1 picture that bootstrap\.clean has"
)


@pytest.mark.parametrize(
    ("settings", "held_out", "message"),
    [
        ({}, 1, COUNTS_NONE),
        ({"bootstrap__captioner": {"train.metric": "terms_recalled"}}, 4, r"bootstrap\.captioner: 'terms_recalled'"),
        (
            {"bootstrap__captioner": {"train.metric": "r_mean"}},
            4,
            r"bootstrap\.captioner: train\.metric: 'r_mean' is no",
        ),
        ({"bootstrap__wished_precision": 0.9}, 4, "by 10 pairs or more above it, and the clean validation has 4 right"),
    ],
)
def test_clean_pairs_that_can_choose_nothing_are_refused_before_the_first_pre_training(
    own, monkeypatch, settings, held_out, message
):
    """The captioner's stage refused them, after the pre-training, and named neither itself nor a key."""
    table = own / "clean" / "validation.jsonl"
    table.write_text("\n".join(table.read_text().splitlines()[:held_out]))
    monkeypatch.setattr(rounds, "run_stage", lambda stage: pytest.fail(f"{stage.name} was trained"))
    with pytest.raises((ConfigError, RunError), match=message):
        run(small(data__source="noisy", bootstrap__clean={"source": "clean"}, **settings))


def test_a_start_that_had_learnt_held_out_pairs_is_told(own, monkeypatch, capsys):
    """CapFilt of a model that had learnt what its filter's threshold is chosen by said nothing."""
    (own / "all").mkdir()
    texts = [(own / "clean" / f"{split}.jsonl").read_text() for split in ("train", "validation")]
    (own / "all" / "train.jsonl").write_text("\n".join(texts))
    settings = {"data__source": "all", "data__image_root": "clean", "train__batch_size": 4}
    export = fine_tune(small("before", bootstrap__clean={}, **settings)).model_folder
    result = {"scores": {"warnings": []}}
    monkeypatch.setattr(rounds, "_round", lambda *_: result)
    monkeypatch.setattr(rounds, "load_bootstrapped", lambda *all_of_it: None)
    run(quick(str(export), data__source="noisy", bootstrap__clean={"source": "clean"}))
    told = [line for line in result["scores"]["warnings"] if "learnt by run 'before'" in line]
    assert len(told) == 1 and told[0].startswith("bootstrap.clean, validation: ") and told[0] in capsys.readouterr().out
