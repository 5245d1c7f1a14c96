"""A trained captioner or filter of a round, loaded when it is first needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from blipvqa.captions.batches import collator_for
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

    def pictures(self, dataset: VQADataset) -> VQADataset:
        """The same rows with pixels of this member's size."""
        data, size = self.config.data, self.config.model.image_size
        store = ImageStore(project_path(data.cache_dir) / "images", size, data.cache_gigabytes)
        return dataset.stored_in(store)

    def longer_than_read(self, texts: Sequence[str]) -> int:
        """How many texts this member reads the beginning of only."""
        processor = load_processor(str(self.models.run.model_folder))
        if self.config.task == "caption":
            return collator_for(processor, self.config).count_cut([{"caption": text} for text in texts])["caption"]
        limits = self.config.retrieval.max_words, self.config.retrieval.max_tokens
        return sum(captions_cut(processor.tokenizer, texts, *limits))

    def reading(self) -> dict:
        """What decides how much of a text it reads, and behind which words."""
        if self.config.task == "caption":
            return {"caption": self.config.caption.model_dump(include={"prompt", "max_words", "max_tokens"})}
        return {"retrieval": self.config.retrieval.model_dump(include={"max_words", "max_tokens"})}

    def made_by(self, dataset: VQADataset) -> dict:
        """What its words depend on, the settings of writing or judging aside."""
        return self.models.made_by() | {"image_ids": content_digest([row["image_id"] for row in dataset.rows])}
