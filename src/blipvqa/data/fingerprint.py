"""A digest of the content of every row: what a run folder keeps of the data that made it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from blipvqa.data.dataset import VQADataset


def fingerprint(splits: Mapping[str, VQADataset]) -> dict[str, dict[str, str]]:
    """{split: {row's id: digest}}: texts, further columns, and the picture by the digest of its bytes."""
    return {split: {row["id"]: row_digest(row) for row in data.rows} for split, data in splits.items()}


def row_digest(row: Mapping) -> str:
    """16 hex digits of a row's content; its `id` is its place, which is no part of it."""
    content = {key: value for key, value in row.items() if key != "id"}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
