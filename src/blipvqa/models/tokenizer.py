"""Words to numbers: BERT's WordPiece with BLIP's start tokens.

Notable:
- [ENC] stands before what is read with a picture, [DEC] before what is written, [CLS] before what is read alone.
- `encode` is the only place that decides with which token a text begins.
- [ENC] stands where BERT has [CLS]; [DEC] is the tokenizer's `bos_token` (docs/facts.md 1.9).
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from torch import Tensor
from transformers import BertTokenizer, BlipConfig, BlipImageProcessorPil, BlipProcessor

from blipvqa.models.folders import ModelError, called, read_json, read_text
from blipvqa.models.towers import IMAGE_MEAN, IMAGE_STD
from blipvqa.text import encodable

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
QUESTION_START, ANSWER_START, TEXT_START = "[ENC]", "[DEC]", "[CLS]"
BECOMES_SPACE = re.compile(r"[.!\"()*#:;~]")  # as the authors do: salesforce/BLIP data/utils.py
AUTHORS_WORDS = 30
SETTINGS = {  # what is taken of tokenizer_config.json, and its types
    "do_lower_case": (bool,),
    "strip_accents": (bool, type(None)),
    "tokenize_chinese_chars": (bool,),
    "model_max_length": (int,),
}


def encode(
    tokenizer: BertTokenizer, texts: list[str], start: Literal["[ENC]", "[DEC]", "[CLS]"], limit: int | None = None
) -> dict[str, Tensor]:
    """`input_ids`, `attention_mask` `[texts, L]` of `start text [SEP]`, padded to the longest, cut at `limit`."""
    batch = tokenizer(
        [encodable(text) for text in texts],  # half a character is a TypeError there
        padding="longest",
        truncation=limit is not None,
        max_length=limit,
        return_token_type_ids=False,
        return_tensors="pt",
    )
    if start != QUESTION_START:
        batch["input_ids"][:, 0] = tokenizer.convert_tokens_to_ids(start)
    return batch


def prepare_caption(caption: str, max_words: int = AUTHORS_WORDS) -> str:
    """Lower-case, each of `.!"()*#:;~` a space, at most `max_words` words (docs/facts.md 7.3)."""
    return " ".join(BECOMES_SPACE.sub(" ", caption.lower()).split()[:max_words])


def captions_cut(
    tokenizer: BertTokenizer, captions: Iterable[str], max_words: int, max_tokens: int, before: str = ""
) -> list[bool]:
    """Of each caption whether it exceeds the limit of words, or, with what stands `before` it and special tokens, of
    tokens."""
    whole = [prepare_caption(caption, 10**6).split() for caption in captions]
    read = [f"{before} {' '.join(words[:max_words])}".strip() for words in whole]
    ids = tokenizer(read, truncation=False, verbose=False)["input_ids"] if read else []
    return [len(of) > max_tokens or len(words) > max_words for of, words in zip(ids, whole, strict=True)]


def reading_notes(tokenizer: BertTokenizer, text: str, max_words: int, max_tokens: int) -> list[str]:
    """What a person should know of how a text of one's own is read as captions are: as much as there is room for, and
    words that the vocabulary lacks as [UNK]."""
    words = prepare_caption(encodable(text), 10**6).split()
    return notes_on_reading(tokenizer, " ".join(words[:max_words]), max_tokens, whole=len(words) <= max_words)


def notes_on_reading(
    tokenizer: BertTokenizer, prepared: str, max_tokens: int, what: str = "text", whole: bool = True
) -> list[str]:
    """As `reading_notes`, of a text as it is given to the tokenizer: the `whole` of it, or its first words."""
    prepared = encodable(prepared)
    ids = tokenizer(prepared, add_special_tokens=False, verbose=False)["input_ids"]
    notes = unknown_word_notes(tokenizer, prepared)
    if not whole or len(ids) + 2 > max_tokens:
        read = tokenizer.decode(ids[: max_tokens - 2])
        notes.insert(0, f"the {what} is too long for this model, which read no more than “{read}”")
    return notes


def unknown_word_notes(tokenizer: BertTokenizer, prepared: str) -> list[str]:
    """A note that names the words of a text which the vocabulary lacks; none without any."""
    words = dict.fromkeys(encodable(prepared).split())
    unknown = unknown_texts(tokenizer, words)
    if not unknown:
        return []
    named = ", ".join(f"“{word.strip(string.punctuation) or word}”" for word in words if word in unknown)
    return [f"this model's vocabulary has no word for {named:.200}: it read nothing there"]


def unknown_texts(tokenizer: BertTokenizer, texts: Iterable[str]) -> set[str]:
    """Those of the texts that hold what the vocabulary has no token for: [UNK] is read, and never written."""
    distinct = list(dict.fromkeys(texts))
    ids = tokenizer(distinct, add_special_tokens=False, verbose=False)["input_ids"] if distinct else []
    return {text for text, of in zip(distinct, ids, strict=True) if tokenizer.unk_token_id in of}


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


def read_tokenizer(folder: Path, config: BlipConfig) -> BertTokenizer:
    """The tokenizer of a model folder, with both start tokens: its vocabulary, and how it treats letters.

    Everything else that `tokenizer.json` can hold is left out. Raises ModelError where there is no vocabulary, or one
    that does not fit the weights: every word would then be another word to the model.
    """
    tokenizer = read_words(folder)
    text = config.text_config
    read = {
        "entries, [DEC] and [ENC] included": (len(tokenizer), text.vocab_size),
        "[DEC] (bos_token_id)": (tokenizer.bos_token_id, text.bos_token_id),
        "[SEP] (sep_token_id)": (tokenizer.sep_token_id, text.sep_token_id),
        "[PAD] (pad_token_id)": (tokenizer.pad_token_id, text.pad_token_id),
    }
    for what, (in_files, expected) in read.items():
        if in_files != expected:
            raise ModelError(
                f"{called(folder)}: another model's tokenizer: {what}: its files say {in_files}, config.json {expected}"
            )
    return tokenizer


def read_words(folder: Path) -> BertTokenizer:
    """As `read_tokenizer`, of any folder with a tokenizer of BERT's kind, whose weights are looked at elsewhere."""
    settings = _letters(folder)
    vocabulary = _vocabulary(folder)
    if problem := _problem(vocabulary):
        raise ModelError(f"{called(folder)}: the vocabulary is not one of BERT's kind: {problem}")
    return add_start_tokens(BertTokenizer(vocab=vocabulary, **settings))


def _problem(vocabulary: dict[str, int]) -> str | None:
    missing = [token for token in SPECIAL_TOKENS if token not in vocabulary]
    if missing:
        return f"it lacks {', '.join(missing)}"
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        return "its numbers are not 0, 1, 2, …, each once"
    try:
        "".join(vocabulary).encode()
    except UnicodeEncodeError:
        return "a word holds half a character, which is no UTF-8"
    return None


def _letters(folder: Path) -> dict[str, Any]:
    """Settings of BERT's tokenizer from `tokenizer_config.json`, as far as there is one."""
    if not (folder / "tokenizer_config.json").exists():
        return {}
    content = read_json(folder, "tokenizer_config.json")
    settings = {key: content[key] for key in SETTINGS if key in content}
    for key, value in settings.items():
        if type(value) not in SETTINGS[key]:
            raise ModelError(f"{called(folder)}: {key} in tokenizer_config.json is {value!r:.60}")
    return settings


def _vocabulary(folder: Path) -> dict[str, int]:
    if (folder / "tokenizer.json").exists():
        model = read_json(folder, "tokenizer.json").get("model")
        vocabulary = model.get("vocab") if isinstance(model, dict) else None
        if not isinstance(vocabulary, dict) or model.get("type", "WordPiece") != "WordPiece":
            raise ModelError(f"{called(folder)}: tokenizer.json holds no WordPiece vocabulary")
        if not all(type(number) is int for number in vocabulary.values()):
            raise ModelError(
                f"{called(folder)}: the vocabulary in tokenizer.json gives a word something else than a number"
            )
        return vocabulary
    if (folder / "vocab.txt").exists():
        words = read_text(folder, "vocab.txt").split("\n")
        words = words[:-1] if words[-1] == "" else words
        return {word: number for number, word in enumerate(words)}
    raise ModelError(
        f"{called(folder)} has no tokenizer (tokenizer.json or vocab.txt), without which no word is the model's"
    )


def check_pictures(folder: Path) -> None:
    """Raises ModelError where a folder's pictures are scaled otherwise than BLIP's, whose scale is in the model."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        if not (folder / name).exists():
            continue
        content = read_json(folder, name)
        if isinstance(content.get("image_processor"), dict):
            content = content["image_processor"]
        for key, scale in (("image_mean", IMAGE_MEAN), ("image_std", IMAGE_STD)):
            value = content.get(key)
            if value is not None and not _equal(value, scale):
                raise ModelError(f"{called(folder)}: {key} in {name} is {value!r:.60}, BLIP's is {list(scale)}")


def _equal(value: Any, scale: tuple[float, ...]) -> bool:
    if not isinstance(value, list) or not all(isinstance(number, float) for number in value):
        return False
    return len(value) == len(scale) and all(abs(a - b) < 1e-3 for a, b in zip(value, scale, strict=True))


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
