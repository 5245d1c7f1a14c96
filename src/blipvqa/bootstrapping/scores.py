"""How well the filter filters, and what was kept: numbers over all texts of a round, with intervals over pictures.

Where nobody knows which texts are right, there are shares and diversity only; verdicts of a person say more (`sheet`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np

from blipvqa.bootstrapping.candidates import SYNTHETIC, WEB, Candidate
from blipvqa.captions.measures import MEASURES, counts
from blipvqa.captions.terms import NO_TERMS, Terms
from blipvqa.data.synthetic_faults import RIGHT
from blipvqa.numbers.bootstrap import BY_IMAGE, Bootstrap, Estimate, estimate, estimate_mean
from blipvqa.numbers.grouping import few_groups_notes, rows_by
from blipvqa.numbers.ranking import estimate_auroc
from blipvqa.numbers.thresholds import threshold_for_sensitivity
from blipvqa.pages.wording import unit
from blipvqa.plural import of_all

RECALL = 0.8  # at which the precision is compared
DIVERSITY = ("words", "distinct_captions", "distinct_2")
THINGS = ("terms_recalled", "terms_invented")
CALLED = {WEB: "of the source", SYNTHETIC: "that a model wrote"}


class Scores(TypedDict, total=False):
    """What `score` returns; `filter` and `by_fault` are there where it is known which texts are right."""

    group: str  # the column that intervals are drawn over
    kept: dict[str, Estimate]  # by origin: the share that the filter keeps
    filter: dict[str, dict[str, Estimate]]  # by origin: auroc, precision, recall, precision at a recall of RECALL
    judges: dict[str, dict[str, dict[str, Estimate]]]  # likewise of each judge alone, where captioners judge, too
    by_fault: dict[str, dict[str, Estimate]]  # by what is wrong: auroc against the right texts, and the share kept
    said: dict[str, dict[str, Estimate]]  # of all and of kept texts by origin: right ones, things named, diversity
    warnings: list[str]  # what a reader should know before believing the numbers


def score(
    texts: Sequence[Candidate], terms: Terms = NO_TERMS, bootstrap: Bootstrap = BY_IMAGE, longer: int = 0
) -> Scores:
    """Every number of a round's texts. With `right` and `fault` in them also how well the filter filters. `longer` of
    them are longer than is read.

    `precision_at_recall` is read off the same texts that it is told of, at the highest threshold with that recall.
    """
    groups = bootstrap.groups_of(texts)
    kept = np.array([text["kept"] for text in texts], bool)
    by_origin = {origin: np.array(rows) for origin, rows in rows_by(text["origin"] for text in texts).items()}
    scores = Scores(
        group=bootstrap.group,
        kept={origin: estimate_mean(kept, groups, bootstrap, rows) for origin, rows in by_origin.items()},
        said=_said(texts, by_origin, kept, groups, terms, bootstrap),
    )
    if all("right" in text for text in texts):
        match = np.array([text["match"] for text in texts])
        right = np.array([text["right"] for text in texts], bool)
        everything = by_origin | {"all": np.arange(len(texts))}
        scores["filter"] = {
            origin: _filter(match[rows], right[rows], kept[rows], groups[rows], bootstrap)
            for origin, rows in everything.items()
        }
        if all("likelihood" in text for text in texts):
            said = {name: np.array([text[name] for text in texts]) for name in ("matching", "likelihood")} | {
                "both": match
            }
            scores["judges"] = {
                origin: {
                    name: _ranked(values[rows], right[rows], groups[rows], bootstrap) for name, values in said.items()
                }
                for origin, rows in by_origin.items()
            }
        faults = rows_by(text["fault"] for text in texts)
        scores["by_fault"] = {
            fault: _fault(match, right, kept, groups, np.array(rows), bootstrap)
            for fault, rows in sorted(faults.items(), key=lambda item: (item[0] != RIGHT, -len(item[1])))
        }
    return scores | {"warnings": _warnings(scores, texts, longer, len(np.unique(groups)))}


def _warnings(scores: Scores, texts: Sequence[Candidate], longer: int, groups: int) -> list[str]:
    warnings = few_groups_notes(groups, unit(scores, "pictures"))
    for origin, called in CALLED.items():
        share = scores["kept"].get(origin)
        if share is None:
            warnings.append(f"there is no text {called}")
        elif share["value"] in (0, 1):
            texts_kept = "every text" if share["value"] else "no text"
            warnings.append(f"the filter keeps {texts_kept} {called}: its threshold tells none from another there")
    if longer:
        both = any("likelihood" in text for text in texts)
        reads = "filter or captioner read (retrieval. and caption." if both else "the filter reads (retrieval."
        reads += "max_words, max_tokens"
        warnings.append(
            f"{of_all(longer, len(texts), 'text', 'is', 'are')} longer than {reads}): "
            "the beginning was judged, and the whole text is kept"
        )
    written = [text for text in texts if text["origin"] == SYNTHETIC]
    if cut := sum(text.get("unfinished", False) for text in written):
        warnings.append(
            f"{of_all(cut, len(written), 'written text', 'stops', 'stop')} at caption.max_length, before the model "
            "ended them"
        )
    return warnings


def _ranked(match: np.ndarray, right: np.ndarray, groups: np.ndarray, bootstrap: Bootstrap) -> dict[str, Estimate]:
    """How well a judge puts right texts before wrong ones, whatever the threshold."""
    threshold = threshold_for_sensitivity(match, right, RECALL)
    reached = np.zeros(len(match), bool) if threshold is None else match >= threshold
    return {
        "auroc": estimate_auroc(match, right, groups, bootstrap),
        "precision_at_recall": estimate_mean(right, groups, bootstrap, np.flatnonzero(reached)),
    }


def _filter(
    match: np.ndarray, right: np.ndarray, kept: np.ndarray, groups: np.ndarray, bootstrap: Bootstrap
) -> dict[str, Estimate]:
    ranked = _ranked(match, right, groups, bootstrap)
    return {
        "auroc": ranked["auroc"],
        "precision": estimate_mean(right, groups, bootstrap, np.flatnonzero(kept)),
        "recall": estimate_mean(kept, groups, bootstrap, np.flatnonzero(right)),
        "precision_at_recall": ranked["precision_at_recall"],
        "right_before": estimate_mean(right, groups, bootstrap),
    }


def _fault(
    match: np.ndarray, right: np.ndarray, kept: np.ndarray, groups: np.ndarray, rows: np.ndarray, bootstrap: Bootstrap
) -> dict[str, Estimate]:
    share = estimate_mean(kept, groups, bootstrap, rows)
    if right[rows].all():
        return {"kept": share}
    both = np.concatenate([np.flatnonzero(right), rows])
    return {"kept": share, "auroc": estimate_auroc(match[both], right[both], groups[both], bootstrap)}


def _said(
    texts: Sequence[Candidate],
    by_origin: Mapping[str, np.ndarray],
    kept: np.ndarray,
    groups: np.ndarray,
    terms: Terms,
    bootstrap: Bootstrap,
) -> dict[str, dict[str, Estimate]]:
    """What is said by all and by kept texts of each origin; each is compared with what is true of its picture."""
    known = bool(terms) and all("right" in text for text in texts)
    names = [*DIVERSITY, *(THINGS if known else ())]
    slices = {}
    for origin, rows in by_origin.items():
        slices |= {origin: rows, f"{origin}, kept": rows[kept[rows]]}
    slices["all kept"] = np.flatnonzero(kept)
    said = {}
    for name, rows in slices.items():
        # a slice by itself: its diversity is that of its own texts
        predictions = [
            {
                "id": texts[i]["id"],
                "image_id": texts[i]["image_id"],
                "prediction": texts[i]["caption"],
                "references": [texts[i]["truth"] if known else texts[i]["caption"]],
            }
            for i in rows
        ]
        if not predictions:
            said[name] = {}
            continue
        matrix = counts(predictions, terms if known else NO_TERMS)
        (said[name],) = estimate(matrix, groups[rows], [np.arange(len(rows))], MEASURES, names, bootstrap)
        if known:
            right = [texts[i]["right"] for i in rows]
            said[name]["right"] = estimate_mean(right, groups[rows], bootstrap)
    return said
