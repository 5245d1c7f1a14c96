"""A digest of the content of every row: what a run folder keeps of the data that made it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from json.encoder import encode_basestring
from typing import Any

from blipvqa.data.dataset import VQADataset
from blipvqa.data.row_table import SPAN, RowTable, column_of


def fingerprint(splits: Mapping[str, VQADataset]) -> dict[str, dict[str, str]]:
    """{split: {row's id: digest}}: texts, further columns, and the picture by the digest of its bytes."""
    return {
        split: dict(zip(column_of(data.rows, "id"), _digests(data.rows), strict=True)) for split, data in splits.items()
    }


def _digests(rows: Sequence[Mapping]) -> Iterator[str]:
    """`row_digest` of each row; of a table whose rows have the same columns, without a dict for each."""
    if not isinstance(rows, RowTable) or rows.optional & rows.columns.keys():
        yield from map(row_digest, rows)
        return
    names = sorted(rows.columns.keys() - {"id"})
    form = "{" + ", ".join(f"{_text(name).replace('%', '%%')}: %s" for name in names) + "}"
    for start in range(0, len(rows), SPAN):
        cells = [map(_text, rows.columns[name].span(start, SPAN)) for name in names]
        for row in zip(*cells, strict=True):
            yield _digest(form % row)


def _text(value: Any) -> str:
    return encode_basestring(value) if type(value) is str else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def row_digest(row: Mapping) -> str:
    """16 hex digits of a row's content; its `id` is its place, which is no part of it."""
    content = {key: value for key, value in row.items() if key != "id"}
    return _digest(_json(content))


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
