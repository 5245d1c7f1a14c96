"""Named things: which words name which term, and term files that are refused."""

import pytest

from blipvqa.captions.scores import score
from blipvqa.captions.terms import Finder, load_terms, side
from blipvqa.config.knobs import ConfigError
from blipvqa.numbers.bootstrap import NO_INTERVALS


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a thick cell wall", {"cell wall"}),
        ("a cell beside a cell wall", {"cell", "cell wall"}),
        ("white matter plaque", {"white matter", "matter plaque"}),  # neither lies within the other
        ("fat fat", {"fat"}),
        ("FAT, and B-cells.", {"fat", "b-cell"}),
        ("b - cells", {"b-cell"}),  # as decoding spaces it
        ("a B-cell", {"b-cell"}),
        ("naive lymphocyte", {"naïve lymphocyte"}),
        ("glands", {"gland"}),
        ("cells and walls and fatty tissue", set()),
        ("", set()),
        ("...", set()),
    ],
)
def test_whole_words_name_a_term_and_of_terms_within_each_other_the_longest(text, named):
    terms = {"cell": [], "cell wall": [], "white matter": [], "matter plaque": [], "fat": [], "gland": ["glands"]}
    terms |= {"b-cell": ["b-cells"], "naïve lymphocyte": []}
    assert Finder(terms).named(text) == named


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "holds no term"),
        ("# nothing\n\n", "holds no term"),
        ("gland: acinus\nacinus: gland", "line 2: 'acinus' stands in line 1 already"),
        ("fat\nFat.", r"line 2: 'Fat\.' stands in line 1 already"),
        ("naïve\ngland: NAIVE", "line 2: 'NAIVE' stands in line 1 already"),
        (": glands", "line 1: found '' for a term or synonym"),
        ("fat\n...: x", r"line 2: found '\.\.\.' for a term"),
        ("fibre / fiber", "line 1: found 'fibre / fiber' for a term or synonym; a line is `term`, or"),
        ("fibre = fiber", "line 1: found 'fibre = fiber' for a term or synonym; a line is `term`, or"),
        ("fat\nfibre; fiber", "line 2: found 'fibre; fiber' for a term or synonym; a line is `term`, or"),
        ("gland,glands", "line 1: found 'gland,glands'"),
        ("gland: glands; acinus", "line 1: found 'glands; acinus'"),
        ("gland: glands: acinus", "line 1: found 'glands: acinus'"),
        ("gland\tglands", "line 1: found 'gland\\\\tglands'"),
        ("腺：腺体", "line 1: found '腺：腺体'"),
    ],
)
def test_a_file_of_terms_that_is_not_clear_is_refused_by_line(tiny, root, lines, message):
    (root / "terms.txt").write_text(lines, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_terms(tiny(task="caption", caption__terms="terms.txt"))


def test_a_term_may_be_its_own_synonym_and_files_may_begin_with_a_mark(tiny, root):
    (root / "terms.txt").write_text("gland: Gland, glands,, \n  # a comment\nœdème: oedema\n", encoding="utf-8-sig")
    config = tiny(task="caption", caption__terms="terms.txt")
    assert load_terms(config) == {"gland": ["Gland", "glands"], "œdème": ["oedema"]}


@pytest.mark.parametrize(
    ("texts", "named"),
    [(["Left."], "left"), (["left", "a lung"], "left"), (["left", "right"], None), (["leftover"], None), ([], None)],
)
def test_a_side_is_named_where_all_texts_agree(texts, named):
    assert side(texts) == named


def test_left_for_right_is_neither_counted_where_a_side_is_missing_nor_where_nothing_is_said():
    rows = [
        {"id": str(i), "image_id": str(i), "prediction": prediction, "references": references}
        for i, (prediction, references) in enumerate([("", ["left lung"]), ("left", ["lung"])])
    ]
    overall = score(rows, bootstrap=NO_INTERVALS)["overall"]
    assert overall["sides_exchanged"]["value"] is None and overall["sides_exchanged"]["n"] == 0
