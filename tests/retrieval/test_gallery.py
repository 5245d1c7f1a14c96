"""Galleries: what belongs together; the nearest in blocks."""

import numpy as np
import torch

from blipvqa.numbers import nearest as blocks
from blipvqa.numbers.nearest import nearest
from blipvqa.retrieval.gallery import Gallery


def rows(*pairs):
    return [{"image_id": image, "caption": caption} for image, caption in pairs]


def test_equal_texts_and_all_texts_of_a_picture_are_right():
    gallery = Gallery.of_rows(rows(("a", "Fat."), ("a", "a gland"), ("b", "fat"), ("c", "a vessel")))
    assert gallery.picture_rows == [0, 2, 3] and gallery.text_rows == [0, 1, 3]
    assert [right.tolist() for right in gallery.pictures_of_text] == [[0, 1], [0], [2]]
    assert [right.tolist() for right in gallery.texts_of_picture] == [[0, 1], [0], [2]]
    assert gallery.text_of.tolist() == [0, 1, 0, 2] and gallery.picture_of.tolist() == [0, 0, 1, 2]


def test_every_picture_changes_its_place_with_another():
    gallery = Gallery.of_rows(rows(*((str(i), str(i)) for i in range(9))))
    other = gallery.other_pictures(0)
    assert sorted(other) == list(range(9)) and all(other != np.arange(9))
    assert np.array_equal(other, gallery.other_pictures(0)) and not np.array_equal(other, gallery.other_pictures(1))


def test_the_nearest_in_blocks_are_those_of_the_whole_matrix(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    queries, candidates = (torch.nn.functional.normalize(torch.randn(n, 8, generator=generator)) for n in (23, 41))
    right = {"own": [np.array([q]) for q in range(23)], "other": [np.array([q + 1, q + 2]) for q in range(23)]}
    whole = nearest(queries, candidates, 5, right)
    scores = queries @ candidates.T
    assert np.array_equal(whole.candidates, scores.argsort(descending=True)[:, :5].numpy())
    assert whole.ranks["own"].tolist() == [1 + int((scores[q] > scores[q, q]).sum()) for q in range(23)]
    monkeypatch.setattr(blocks, "BLOCK", 100)
    cut = nearest(queries, candidates, 5, right)
    assert np.array_equal(cut.candidates, whole.candidates) and np.allclose(cut.scores, whole.scores)
    assert all(np.array_equal(cut.ranks[name], whole.ranks[name]) for name in right)


def test_equal_scores_stand_in_order_and_k_may_exceed_the_gallery():
    same = torch.ones(4, 1)
    best = nearest(same[:1], same, 9, {"own": [np.array([0])]})
    assert best.candidates.tolist() == [[0, 1, 2, 3]] and best.ranks["own"].tolist() == [4]
