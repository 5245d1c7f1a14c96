"""What was kept, as a source like any other: pictures by digest, a line a text, the held-out pairs, and a card.

Notable:
- A picture is written anew from its pixels, named by its digest: nothing that a file says beside them (a patient's
  name, a date, a path) goes along. Nor do further columns of the source; groups of patients get numbers.
- The folder appears whole or not at all, and is left alone where it would be the same; one that somebody edited is
  refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from blipvqa.bootstrapping.candidates import HUMAN, SYNTHETIC, Candidate, origin_of
from blipvqa.bootstrapping.stages import GROUP
from blipvqa.config.knobs import Config
from blipvqa.data.dataset import VQADataset
from blipvqa.data.groups import same_group
from blipvqa.pages.cards import markdown_table, plain
from blipvqa.pages.wording import last_part
from blipvqa.runs.files import write_lines, write_text
from blipvqa.runs.run import Run, RunError
from blipvqa.training.stored import content_digest, stored_folder

MATCH = {  # what the column says, by `bootstrap.judge`
    "matching": "the filter's probability of a match",
    "both": "the geometric mean of the filter's probability of a match and of the captioner's of each token",
}


class Groups:
    """Patients or slides by number, the same in every split and source: their names stay where they are."""

    def __init__(self):
        self.numbers: dict[str, int] = {}

    def of(self, row: Mapping, column: str | None) -> dict[str, str]:
        """The column of a row's group; none where the source has none."""
        if column is None:
            return {}
        name = same_group(row.get(column)) or row["image_id"]  # however it is spelled, and nobody's where unknown
        return {GROUP: f"group {self.numbers.setdefault(name, len(self.numbers) + 1)}"}


def write_folder(
    folder: Path,
    texts: Sequence[Candidate],
    noisy: VQADataset,
    clean: Mapping[str, VQADataset],
    config: Config,
    card: str,
    trained: Run | None = None,
) -> None:
    """Write `folder`: train of the kept `texts` and the clean pairs, the other splits of the clean pairs alone.

    Raises RunError where it holds other texts, which the run `trained` was pre-trained on, unless `config.fresh`.
    """
    groups = Groups()
    lines = {
        split: [
            _line(row, data, i, {"caption": row["caption"], "origin": origin_of(row, HUMAN), "match": None})
            | groups.of(row, data.group_column)
            for i, row in enumerate(data.rows)
        ]
        for split, data in clean.items()
    }
    row_of = {row["image_id"]: i for i, row in reversed(list(enumerate(noisy.rows)))}
    lines["train"] += [
        _line(text, noisy, row_of[text["image_id"]], {key: text[key] for key in ("caption", "origin", "match")})
        | groups.of(text, noisy.group_column)
        for text in texts
        if text["kept"]
    ]

    def may_replace() -> None:
        if trained is not None and trained.started and not config.fresh:
            raise RunError(
                f"other texts are kept now than run '{trained.name}' was pre-trained on, since settings, models or "
                "data changed: give another name, or fresh: true, which moves that run aside and pre-trains anew."
            )

    def write(place: Path) -> None:
        (place / "images").mkdir()
        for of_split in lines.values():
            for line in of_split:
                _write_picture(place / line["image"], *line["pixels"])
        for split, of_split in lines.items():
            write_lines(place / f"{split}.jsonl", _written(of_split))
        write_text(place / "README.md", card)

    made_of = {"lines": content_digest([*map(_written, lines.values())]), "card": card}
    stored_folder(folder, made_of, write, may_replace)


def _line(row: Mapping, data: VQADataset, number: int, columns: dict) -> dict:
    return {"image": f"images/{row['image_id']}.png", **columns, "pixels": (data, number)}


def _written(lines: Sequence[dict]) -> list[dict]:
    return [{key: value for key, value in line.items() if key != "pixels"} for line in lines]


def _write_picture(path: Path, data: VQADataset, number: int) -> None:
    if not path.exists():
        image = data.image(number)
        image.info.clear()  # what the file said beside its pixels
        image.save(path, "PNG", compress_level=1)


def card_of(config: Config, texts: Sequence[Candidate], clean_pairs: VQADataset, threshold: float) -> str:
    """The folder's README: what in it was written by a model, and by which rule it was kept. `clean_pairs` are those of
    train."""
    in_doubt, kept_of = Counter(text["origin"] for text in texts), Counter(t["origin"] for t in texts if t["kept"])
    of_clean = Counter(origin_of(row, HUMAN) for row in clean_pairs.rows)
    rows = [(origin, count, kept_of[origin]) for origin, count in in_doubt.items()]
    rows += [(f"{origin}, of the clean pairs", count, count) for origin, count in of_clean.items()]
    written, kept = kept_of[SYNTHETIC] + of_clean[SYNTHETIC], kept_of.total() + of_clean.total()
    clean = config.bootstrap.clean.get("source", "synthetic")
    return f"""# {config.name}: bootstrapped captions

**{written:,} of the {kept:,} texts of train were written by a model**, not by a person: those whose `origin` is
`{SYNTHETIC}`. They may name what is not there. No text here is a finding; use them for research on methods only.

Pictures and texts of {plain(last_part(config.data.source))}, kept where {MATCH[config.bootstrap.judge]} (`match`)
is {threshold:.3g} or more, and all pairs of {plain(last_part(str(clean)))} (`origin: {HUMAN}`, but for those that say
`{SYNTHETIC}` themselves), whose validation and test pairs are this folder's. Pictures are named by their digest and
hold pixels only.

{markdown_table(["origin", "texts", "kept"], rows)}
"""
