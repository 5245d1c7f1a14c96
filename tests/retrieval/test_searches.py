"""Searches both ways: the authors' evaluation number by number, bounded memory, exchange, k of 0 and above the gallery."""

import json

import numpy as np
import pytest
import torch
from conftest import REFERENCE
from safetensors.torch import load_file

from blipvqa.models.retriever import BlipForRetrieval
from blipvqa.numbers.ranks import best_ranks
from blipvqa.retrieval import encoding
from blipvqa.retrieval.encoding import EncodedPictures, encode_texts, match
from blipvqa.retrieval.gallery import Gallery
from blipvqa.retrieval.searches import search_both_ways

FOLDER = REFERENCE / "blip-tiny-retrieval"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())["evaluation"]
RUNS = {run["k_test"]: run for run in EXPECTED["runs"]}
IMAGE_OF = [EXPECTED["txt2img"][str(text)] for text in range(7)]


class Small:
    """The reference's four pictures and seven texts, encoded; `matched` counts the pairs that were asked for."""

    def __init__(self, size=3):
        self.model = BlipForRetrieval.from_pretrained(FOLDER).eval()
        pixels = load_file(FOLDER / "images.safetensors")["pixel_values"]
        texts = [torch.tensor([2, *text, 3]) for text in EXPECTED["texts"]]
        ids = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True)
        self.tokens = {"input_ids": ids, "attention_mask": (ids > 0).long()}
        self.pictures = EncodedPictures(self.model, lambda numbers: pixels[numbers], 4, size)
        self.texts = encode_texts(self.model, self.tokens, size)
        self.gallery = Gallery.of_rows([{"image_id": str(i), "caption": f"text {t}"} for t, i in enumerate(IMAGE_OF)])
        self.matched = 0

    def match(self, pairs):
        self.matched += len(pairs)
        return match(self.model, self.pictures, self.tokens, pairs)

    def search(self, k, other=(1, 2, 3, 0), temperature=None):
        features = (self.pictures.features, self.texts)
        return search_both_ways(*features, self.gallery, np.array(other), k, self.match, temperature)


def matrix(searches, columns):
    """All scores, -100 outside the shortlists."""
    scores = np.full((len(searches.candidates), columns), -100.0)
    np.put_along_axis(scores, searches.candidates, searches.scores, axis=1)
    return scores


@pytest.mark.parametrize("k", [2, 3, 4])
@pytest.mark.parametrize("kept", [2**31, 0], ids=["states kept", "encoded again"])
def test_scores_are_the_authors(k, kept, monkeypatch):
    monkeypatch.setattr(encoding, "STATES_BYTES", kept)
    monkeypatch.setattr(encoding, "PAIRS", 5)
    img, txt, _ = Small().search(k)
    assert np.allclose(matrix(txt, 7), RUNS[k]["scores_i2t"], atol=2e-5)
    assert np.allclose(matrix(img, 4), RUNS[k]["scores_t2i"], atol=2e-5)
    right = [np.array(EXPECTED["img2txt"][str(i)]) for i in range(4)]
    assert txt.ranks["rank"].tolist() == best_ranks(np.array(RUNS[k]["scores_i2t"]), right).tolist()


def test_cosines_are_the_authors_and_every_pair_is_matched_once():
    small = Small()
    similarities = (small.pictures.features @ small.texts.T).numpy()
    assert np.allclose(similarities, EXPECTED["similarities_i2t"], atol=1e-5)
    img, txt, _ = small.search(99)
    assert small.matched == 28 and img.candidates.shape == (7, 4) and txt.candidates.shape == (4, 7)


def test_by_likelihood_both_stand_as_log_odds_and_the_cosine_weighs_as_in_training():
    small = Small()
    pairs = np.stack(np.divmod(np.arange(28), 7), axis=1)
    logits, cosines = small.match(pairs).reshape(4, 7, 2), (small.pictures.features @ small.texts.T).numpy()
    expected = logits[..., 1] - logits[..., 0] + cosines / 0.05
    img, txt, _ = small.search(99, temperature=0.05)
    assert np.allclose(matrix(txt, 7), expected, atol=1e-3) and np.allclose(matrix(img, 4), expected.T, atol=1e-3)
    assert all((np.diff(searches.scores, axis=1) <= 0).all() for searches in (img, txt))


def test_without_matching_the_order_is_that_of_the_cosines():
    small = Small()
    img, txt, _ = small.search(0)
    assert img.matches is None and np.array_equal(img.ranks["rank"], img.ranks["itc_rank"])
    assert np.array_equal(txt.ranks["exchanged"], txt.ranks["itc_exchanged"])
    assert small.matched == 14  # the data's own pairs and the exchanged ones


def test_matching_changes_no_rank_by_cosine_and_a_shortlist_of_all_gives_the_ranks_of_all_pairs():
    img, txt, _ = Small().search(4)
    again, _, _ = Small().search(2)
    assert np.array_equal(img.ranks["itc_rank"], again.ranks["itc_rank"])
    assert img.ranks["rank"].tolist() == best_ranks(matrix(img, 4), [np.array([i]) for i in IMAGE_OF]).tolist()
    assert txt.ranks["rank"].max() <= 7


def test_exchanged_ranks_are_those_of_pictures_in_each_others_places():
    other = np.array([2, 0, 3, 1])
    small, exchanged = Small(), Small()
    exchanged.pictures.features = exchanged.pictures.features[torch.from_numpy(other)]
    size = exchanged.pictures.size
    states = torch.cat(list(exchanged.pictures.kept.values()))[torch.from_numpy(other)]
    exchanged.pictures.kept = {i * size: part for i, part in enumerate(states.split(size))}
    of_small, of_exchanged = small.search(3, other), exchanged.search(3, other)
    for ours, theirs in zip(of_small[:2], of_exchanged[:2], strict=True):
        assert ours.ranks["exchanged"].tolist() == theirs.ranks["rank"].tolist()
        assert ours.ranks["itc_exchanged"].tolist() == theirs.ranks["itc_rank"].tolist()


def test_probabilities_are_those_of_the_pairs():
    small = Small()
    img, _, matched = small.search(2)
    pair = np.array([[img.candidates[5, 0], 5]])
    no, yes = small.match(pair)[0]
    assert img.matches[5, 0] == pytest.approx(1 / (1 + np.exp(no - yes)), abs=1e-6)
    assert matched(pair[:, 0], pair[:, 1])[1][0] == img.matches[5, 0]


@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_model_that_tells_nothing_apart_finds_nothing_on_a_shortlist_either(k):
    """Which of equal candidates are matched is luck: none of them counts as found."""
    small = Small()
    small.pictures.features = small.pictures.features[:1].expand(4, -1).contiguous()
    small.texts = small.texts[:1].expand(7, -1).contiguous()
    img, txt, _ = small.search(k)
    assert (img.ranks["rank"] == 4).all() and (img.ranks["itc_rank"] == 4).all()
    assert txt.ranks["rank"].tolist() == [8 - len(one) for one in small.gallery.texts_of_picture]
