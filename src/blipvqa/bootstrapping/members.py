"""A trained captioner or filter of a round, loaded when it is first needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from blipvqa.config.knobs import Config
from blipvqa.config.paths import project_path
from blipvqa.data.dataset import VQADataset
from blipvqa.data.images import ImageStore
from blipvqa.models.loading import load_processor
from blipvqa.models.tokenizer import captions_cut
from blipvqa.runs.run import Run
from blipvqa.training.stored import ModelsOfRun, content_digest


class Member:
    """One of a round's models: `config.task` says whether it writes (`caption`) or filters."""

    def __init__(self, config: Config, splits: Mapping[str, VQADataset]):
        self.config, self.models = config, ModelsOfRun(config, Run(config.folder), splits)

    def let_go(self) -> None:
        """Free the model's memory: several members, and the run after them, seldom fit a GPU together."""
        self.models.models = {}

    def pictures(self, dataset: VQADataset) -> VQADataset:
        """The same rows with pixels of this member's size."""
        data, size = self.config.data, self.config.model.image_size
        store = ImageStore(project_path(data.cache_dir) / "images", size, data.cache_gigabytes)
        return dataset.stored_in(store)

    def reads_in_part(self, texts: Sequence[str]) -> list[bool]:
        """Of each text whether this member reads the beginning only."""
        tokenizer = load_processor(str(self.models.run.model_folder)).tokenizer
        if self.config.task == "caption":
            settings, before = self.config.caption, self.config.caption.prompt.lower().strip()
        else:
            settings, before = self.config.retrieval, ""
        return captions_cut(tokenizer, texts, settings.max_words, settings.max_tokens, before=before)

    def reading(self) -> dict:
        """What decides how much of a text it reads, and behind which words."""
        if self.config.task == "caption":
            return {"caption": self.config.caption.model_dump(include={"prompt", "max_words", "max_tokens"})}
        return {"retrieval": self.config.retrieval.model_dump(include={"max_words", "max_tokens"})}

    def made_by(self, dataset: VQADataset) -> dict:
        """What its words depend on, the settings of writing or judging aside."""
        return self.models.made_by() | {"image_ids": content_digest([row["image_id"] for row in dataset.rows])}
