"""The embedded data: drawn tissue pictures with known objects, and questions about them or captions.

Notable:
- Rows of several pictures, pairs or series, are drawn likewise (`synthetic_several`).
- Written as a folder in the Hub's layout and read like any other; nothing else knows that it is drawn.
- Each picture has a random generator of its own, seeded by (seed, split, index): the same call gives the same
  bytes, and more pictures in one split change nothing in another.
"""

import filecmp
import io
import os
import re
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features, Image, List, Value
from PIL.Image import Image as PillowImage

from blipvqa.config.synthetic_knobs import STAINS, SYNTHETIC_SIDES
from blipvqa.data.synthetic_captions import captions_of, description
from blipvqa.data.synthetic_dialogues import dialogue_scene, dialogues_about
from blipvqa.data.synthetic_drawing import draw_scene
from blipvqa.data.synthetic_faults import spoil
from blipvqa.data.synthetic_questions import questions_about, random_scene
from blipvqa.data.synthetic_several import draw_pair, random_pictures
from blipvqa.data.synthetic_statements import statements_about
from blipvqa.runs.files import flush_tree

TEXT = Value("string")
QUESTIONS = Features({"image": Image(), "question": TEXT, "answer": TEXT, "topic": TEXT, "box": List(Value("float64"))})
DESCRIPTIONS = Features({"image": Image(), "question": TEXT, "answers": List(TEXT), "stain": TEXT, "things": TEXT})
TURNS = List({"question": TEXT, "answer": TEXT})
DIALOGUES = Features({**QUESTIONS, "turn": TEXT, "history": TURNS})
SEVERAL = Features({"image": List(Image()), "question": TEXT, "answer": TEXT, "topic": TEXT})
STATEMENTS = Features(
    {"image": List(Image()), "sentence": TEXT, "label": TEXT, "label_swapped": Value("bool"), "topic": TEXT}
)
CAPTIONS = Features({"image": Image(), "caption": TEXT, "stain": TEXT, "things": TEXT})
NOISY_CAPTIONS = Features({**CAPTIONS, "fault": TEXT, "truth": TEXT})


def write_synthetic(
    folder: Path,
    *,
    images: dict[str, int],
    seed: int,
    size: int = 96,
    texts: Sequence[str] = ("question", "answer"),
    caption_noise: float = 0.0,
    dialogues: bool = False,
    descriptions: bool = False,
    pictures: Literal["one", "pairs", "series"] = "one",
    stains: Sequence[str] | None = None,
) -> None:
    """Write drawn pictures and questions about them as `<folder>/<split>-00000-of-00001.parquet`.

    images: number of pictures of each split, such as `{"train": 600, "validation": 80, "test": 120}`.
    seed: not negative. size: width and height of a picture in pixels, 32 to 512.

    A row is one question; the six to eight questions of a picture follow one another. Columns: `image` (PNG),
    `question`, `answer`, `topic` (what the question is about, eleven values), `box` (left, top, right, bottom
    as fractions of width and height: round the object that is asked about, or round all of that kind; the
    whole picture where the question is about all of it or about what is not there). With `texts` ("caption",) a
    row is one of a picture's two captions: `image`, `caption`, `stain` and `things`, how many things there are.
    `caption_noise` is the share of train's captions that are made wrong (`synthetic_faults`): `fault` says in what,
    and `truth` is the caption as it was. They are further columns, of which no model is given any.
    With `dialogues` a row is a turn of one of a picture's two conversations (`synthetic_dialogues`), with `turn` and
    `history`, the turns before it. With `descriptions` a row is a picture and the question what it shows; its two
    captions are the right `answers`.

    With `pictures` "pairs" or "series" a row has two pictures or four slices, `images` counts the pairs or series, and
    there is no `box`. With `texts` ("sentence", "label") a row is a statement about a pair: `image`, both texts,
    `label_swapped`, what is right with the pictures in the other order, and `topic` (`synthetic_statements`).

    `stains` are those that tissue is drawn in, by default all four (of single pictures).

    The folder appears complete or not at all. Writing the same again, or from two processes, is harmless.
    Raises ValueError for impossible numbers, FileExistsError where other files already lie in the folder.
    """
    folder = Path(folder)
    _check(images, seed, size)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside its target, because a rename is atomic only within one file system.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        written = Path(temporary) / "written"  # a child: the temporary folder itself is closed to other users
        written.mkdir()
        for split, number in images.items():
            features = QUESTIONS if "caption" not in texts else NOISY_CAPTIONS if caption_noise else CAPTIONS
            features = SEVERAL if pictures != "one" else DIALOGUES if dialogues else features
            features = STATEMENTS if "sentence" in texts else DESCRIPTIONS if descriptions else features
            rows = [
                row for index in range(number) for row in _rows(split, index, seed, size, features, pictures, stains)
            ]
            if features is NOISY_CAPTIONS:
                spoil(rows, caption_noise if split == "train" else 0.0, seed)
            table = pa.Table.from_pylist(rows, schema=features.arrow_schema)
            pq.write_table(table, written / f"{split}-00000-of-00001.parquet", compression="zstd")
        flush_tree(written)  # a folder that is there counts as drawn, after a power cut too
        _publish(written, folder)


def _check(images: dict[str, int], seed: int, size: int) -> None:
    problems = []
    if not images:
        problems.append("images is empty; expected a number for each split")
    for split, number in images.items():
        if not re.fullmatch(r"\w+", split):
            problems.append(f"images has a split {split!r}; expected a name of letters, digits and _")
        if number < 1:
            problems.append(f"images[{split!r}] is {number}; expected 1 or more")
    if seed < 0:
        problems.append(f"seed is {seed}; expected 0 or more")
    smallest, largest = SYNTHETIC_SIDES
    if not smallest <= size <= largest:
        problems.append(f"size is {size} pixels; expected {smallest} to {largest}")
    if problems:
        raise ValueError("; ".join(problems))


def _publish(written: Path, folder: Path) -> None:
    """Move the finished folder into place; one that is already there must hold the same files."""
    try:
        os.rename(written, folder)
    except OSError:
        if not folder.exists():
            raise
        if not _same_files(written, folder):
            message = f"{folder} already exists and holds something else. Remove it, or name another folder."
            raise FileExistsError(message) from None


def _same_files(written: Path, folder: Path) -> bool:
    names = sorted(path.name for path in written.iterdir())
    if not folder.is_dir() or sorted(path.name for path in folder.iterdir()) != names:
        return False
    same, _, _ = filecmp.cmpfiles(written, folder, names, shallow=False)
    return same == names


def _rows(
    split: str, index: int, seed: int, size: int, features: Features, pictures: str, stains: Sequence[str] | None
) -> Iterator[dict]:
    rng = np.random.default_rng([seed, zlib.crc32(split.encode()), index])
    if pictures != "one":
        if features is STATEMENTS:
            scenes, drawn = draw_pair(size, rng)
            rows = statements_about(*scenes, rng)
        else:
            drawn, rows = random_pictures(pictures, size, rng)
        images = [_png(picture, f"{split}-{index:05d}-{place}.png") for place, picture in enumerate(drawn, 1)]
        yield from ({"image": images, **row} for row in rows)
        return
    scene = dialogue_scene(rng) if features is DIALOGUES else random_scene(rng, stains or STAINS)
    picture, boxes = draw_scene(scene, size, rng)
    image = _png(picture, f"{split}-{index:05d}.png")
    if features is DIALOGUES:
        rows = dialogues_about(scene, boxes, rng)
    elif features is DESCRIPTIONS:
        rows = [description(scene, rng)]
    else:
        rows = questions_about(scene, boxes, rng) if features is QUESTIONS else captions_of(scene, rng)
    for row in rows:
        yield {"image": image, **row}


def _png(picture: PillowImage, name: str) -> dict:
    content = io.BytesIO()
    picture.save(content, format="PNG", compress_level=1)
    return {"bytes": content.getvalue(), "path": name}
