"""A model card's Markdown: front matter that the Hub reads, tables, and text from data that is only text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from huggingface_hub import EvalResult, ModelCardData

from blipvqa.pages.wording import last_part


def front_matter(name: str, *, task: str, tags: Sequence[str], start: str, results: Sequence[EvalResult] = ()) -> str:
    """The YAML between two lines of dashes; `start`, the weights training began with, is named where it is a Hub id."""
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag=task,
        tags=list(tags),
        base_model=start if start.count("/") == 1 and last_part(start) == start else None,
        model_name=name if results else None,
        eval_results=list(results) or None,
    )
    return f"---\n{data.to_yaml()}\n---"


def results(
    entries: Mapping[str, Mapping], titles: Mapping[str, str], *, task: str, source: str, split: str
) -> list[EvalResult]:
    """The numbers that have a value, as the Hub's index of models keeps them."""
    return [
        EvalResult(
            task_type=task,
            dataset_type=last_part(source),
            dataset_name=last_part(source),
            dataset_split=split,
            metric_type=name,
            metric_name=title,
            metric_value=round(entries[name]["value"], 6),
        )
        for name, title in titles.items()
        if entries.get(name) and entries[name]["value"] is not None
    ]


def plain(text) -> str:
    """Text from data or settings as Markdown that is only text: in code, on one line."""
    return "`" + " ".join(str(text).replace("`", "'").split()) + "`"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence]) -> str:
    """A table in Markdown; a bar inside a cell does not end it."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
