"""Clips of frames against the authors' own code: the video scores of `tests/reference/blip-tiny-retrieval`."""

import json

import numpy as np
import pytest
import torch
from conftest import REFERENCE
from PIL import Image
from safetensors.torch import load_file

from blipvqa import load_model
from blipvqa.config.task_knobs import RetrievalConfig
from blipvqa.data.frames import frame_numbers
from blipvqa.errors import InputError
from blipvqa.models.retriever import BlipForRetrieval
from blipvqa.models.several_pictures import shown_features
from blipvqa.retrieval.clips import clip_searches, search_clips
from blipvqa.retrieval.encoding import EncodedPictures
from blipvqa.retrieval.gallery import Gallery
from blipvqa.retrieval.searches import combined

FOLDER = REFERENCE / "blip-tiny-retrieval"
VIDEO = json.loads((FOLDER / "expected.json").read_text())["video"]
CLS, SEP = 2, 3


@pytest.fixture(scope="module")
def encoded():
    """Model, states of the pictures, clips [C,F], and texts with their mask."""
    model = BlipForRetrieval.from_pretrained(FOLDER).eval()
    with torch.no_grad():
        states = model.picture_states(load_file(FOLDER / "images.safetensors")["pixel_values"])
    width = max(map(len, VIDEO["texts"])) + 2
    ids = torch.tensor([[CLS, *text, SEP] + [0] * (width - len(text) - 2) for text in VIDEO["texts"]])
    return model, states, torch.tensor(VIDEO["frames"]), ids, (ids != 0).long()


@torch.no_grad()
def scores(model, states, clips, ids, mask):
    """Cosines [C,T], and the authors' scores of every clip with every text."""
    cosines = shown_features(model.vision_proj(states[:, 0]), clips) @ model.text_features(ids, mask).T
    each, text = (x.ravel() for x in np.mgrid[: len(clips), : len(ids)])
    logits = model.match_logits(states, ids[text], mask[text], clips[each])
    return cosines, combined(logits.view(len(clips), len(ids), 2).numpy(), cosines.numpy())


def test_scores_of_clips_equal_the_authors(encoded):
    cosines, both = scores(*encoded)
    np.testing.assert_allclose(both, VIDEO["k4"]["scores_v2t"], atol=1e-5)
    np.testing.assert_allclose(both.T, VIDEO["k4"]["scores_t2v"], atol=1e-5)
    for name, cosine, score in (("scores_v2t", cosines, both), ("scores_t2v", cosines.T, both.T)):
        nearest = cosine.argsort(dim=1, descending=True)[:, :2].numpy()
        shortlist = np.full(score.shape, -100.0)
        np.put_along_axis(shortlist, nearest, np.take_along_axis(score, nearest, 1), 1)
        np.testing.assert_allclose(shortlist, VIDEO["k2"][name], atol=1e-5)


@pytest.mark.parametrize("k", [2, 4, 128])
def test_searches_of_clips_rank_as_the_authors_do(encoded, k):
    model, _, clips, ids, mask = encoded
    gallery = Gallery.of_rows([{"image_id": str(i), "caption": str(i)} for i in range(4)])
    tokens = {"input_ids": ids, "attention_mask": mask}
    pixels = load_file(FOLDER / "images.safetensors")["pixel_values"]
    encoded = EncodedPictures(model, lambda numbers: pixels[numbers], len(pixels), 3, clips=clips.tolist())
    found = clip_searches(model, encoded, tokens, gallery, RetrievalConfig(rerank=k))
    for searches, name in zip(found, ("scores_t2v", "scores_v2t"), strict=True):
        expected = np.array(VIDEO[f"k{min(k, 4)}"][name])
        order = np.argsort(-expected, axis=1, kind="stable")[:, : min(k, 4)]
        assert (searches.candidates == order).all()
        np.testing.assert_allclose(searches.scores, np.take_along_axis(expected, order, 1), atol=1e-5)
    if k >= 4:
        for searches, name in zip(found, ("vid", "txt"), strict=True):
            recall = [100 * np.mean(searches.ranks["rank"] <= most) for most in (1, 5, 10)]
            assert recall == [VIDEO["result"][f"{name}_r{most}"] for most in (1, 5, 10)]
        assert np.median(found[0].ranks["rank"]) == VIDEO["result"]["vid_mdR"]


def test_clips_of_pictures_are_searched_by_words(tiny, capsys):
    config = tiny(task="retrieval")
    texts = ["dense tissue", "pale tissue", "dense tissue"]
    model, processor = load_model("scratch", config, texts=texts)
    draw = np.random.default_rng(0)
    clips = [[Image.fromarray(draw.integers(0, 255, (20, 30, 3), dtype=np.uint8)) for _ in range(n)] for n in (1, 3, 2)]
    by_text, by_clip = search_clips(model, processor, clips, texts)
    assert by_text.candidates.shape == (2, 3) and by_clip.candidates.shape == (3, 2)  # equal texts are one
    assert by_text.ranks["rank"].shape == (2,)
    assert "search_clips:" not in capsys.readouterr().out
    search_clips(model, processor, clips, ["tissue " * 31, "pale 腺体", "dense tissue"])
    said = capsys.readouterr().out
    assert "search_clips: 1 of 3 texts is longer than is read" in said
    assert "search_clips: 1 of 3 texts is read in part, with words that the model's vocabulary lacks: “pale" in said
    for wrong in ([*clips[:2], []], clips[:2]):
        with pytest.raises(InputError, match="expected a text for each clip"):
            search_clips(model, processor, wrong, texts)


def test_the_order_of_frames_counts_little_and_a_shorter_clip_is_masked(encoded):
    model, states, clips, ids, mask = encoded
    _, both = scores(model, states, clips.flip(1), ids, mask)
    np.testing.assert_allclose(both, VIDEO["k4"]["scores_v2t"], atol=5e-6)
    short = torch.tensor([[0, 1, 2, -1, -1], [3, -1, -1, -1, -1], [2, 0, 1, 3, 0], [1, 2, -1, -1, -1]])
    cosines, padded = scores(model, states, short, ids, mask)
    for row, clip in enumerate(short):
        of_one, alone = scores(model, states, clip[clip >= 0][None], ids, mask)
        np.testing.assert_allclose(cosines[row], of_one[0], atol=1e-6)
        np.testing.assert_allclose(padded[row], alone[0], atol=2e-6)
    torch.testing.assert_close(
        shown_features(model.vision_proj(states[:, 0]), short[1:2]), model.picture_features(states)[3:4]
    )


@pytest.mark.parametrize("case", VIDEO["frame_indices"], ids=lambda case: str(case["length"]))
def test_the_authors_rule_of_frames(case):
    assert frame_numbers(case["length"], case["frames"], "authors") == case["indices"]


def test_even_frames_reach_from_the_first_part_to_the_last():
    assert frame_numbers(300, 4) == [37, 112, 187, 262]  # the middle of each of four parts
    assert frame_numbers(4, 4) == [0, 1, 2, 3] and frame_numbers(1, 3) == [0]
    assert frame_numbers(3, 8) == [0, 1, 2]  # each frame once, and not one many times
