"""Words to numbers: BERT's WordPiece with BLIP's two start tokens, [ENC] before questions and [DEC] before answers.

Notable:
- `encode` is the only place that decides with which token a text begins.
- [ENC] stands where BERT has [CLS]; [DEC] is the tokenizer's `bos_token` (docs/facts.md 1.9).
"""

from __future__ import annotations

from typing import Literal

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from torch import Tensor
from transformers import BertTokenizer, BlipImageProcessorPil, BlipProcessor

from blipvqa.models.vqa import IMAGE_MEAN, IMAGE_STD

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
QUESTION_START, ANSWER_START = "[ENC]", "[DEC]"


def encode(
    tokenizer: BertTokenizer, texts: list[str], start: Literal["[ENC]", "[DEC]"], limit: int | None = None
) -> dict[str, Tensor]:
    """`input_ids`, `attention_mask` `[texts, L]` of `start text [SEP]`, padded to the longest, cut at `limit`."""
    batch = tokenizer(
        texts,
        padding="longest",
        truncation=limit is not None,
        max_length=limit,
        return_token_type_ids=False,
        return_tensors="pt",
    )
    if start == ANSWER_START:
        batch["input_ids"][:, 0] = tokenizer.bos_token_id
    return batch


def add_start_tokens(tokenizer: BertTokenizer) -> BertTokenizer:
    """The same tokenizer, which now writes `[ENC] text [SEP]` and holds [DEC]."""
    if tokenizer.cls_token != QUESTION_START:
        # Two calls, in this order: one call would swap the ids (docs/facts.md 1.9).
        tokenizer.add_special_tokens({"bos_token": ANSWER_START})
        tokenizer.add_special_tokens({"cls_token": QUESTION_START})
    start, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="[ENC] $A [SEP]", pair="[ENC] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[ENC]", start), ("[SEP]", end)]
    )
    return tokenizer


def make_processor(tokenizer: BertTokenizer, image_size: int) -> BlipProcessor:
    """The processor of a model: square `image_size`, and a tokenizer that writes `[ENC] text [SEP]`."""
    side = {"height": image_size, "width": image_size}
    images = BlipImageProcessorPil(size=side, image_mean=list(IMAGE_MEAN), image_std=list(IMAGE_STD))
    return BlipProcessor(images, add_start_tokens(tokenizer))


def train_tokenizer(texts: list[str], size: int) -> BertTokenizer:
    """A WordPiece tokenizer of at most `size` entries, as BERT's, from `texts`; the same for the same texts."""
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.normalizer = normalizers.BertNormalizer(lowercase=True)
    learner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    # The trainer numbers letters inside words in an order of chance, which decides between equally common pairs:
    # named in advance, they have a fixed one.
    letters = sorted(
        {letter for text in texts for letter in learner.normalizer.normalize_str(text) if not letter.isspace()}
    )
    fixed = SPECIAL_TOKENS + [f"##{letter}" for letter in letters]
    size = max(size, len(fixed) + len(letters))
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=fixed, show_progress=False)
    learner.train_from_iterator(sorted(texts), trainer)
    learnt = sorted(learner.get_vocab(with_added_tokens=False), key=lambda word: (len(word), word))
    words = SPECIAL_TOKENS + [word for word in learnt if word not in SPECIAL_TOKENS]
    return BertTokenizer(vocab={word: i for i, word in enumerate(words)})
