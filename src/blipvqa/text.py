"""When are two texts the same? The one place that decides.

A prediction is decoded from BERT WordPiece ids, and decoding does not give back the text that was encoded:
"t-cell" returns as "t - cell", "Hodgkin's" as "hodgkin ' s", "3.4 cm" as "3. 4 cm". Compared as text, a right
answer counts as wrong (326 of PathVQA's 9,949 open training answers). So answers are compared as what
WordPiece keeps of them, `normalize(a) == normalize(b)`, and `normalize(decode(encode(a))) == normalize(a)`
for every text whose characters the vocabulary knows.

What is merged, and why:

- upper and lower case, accents, control characters, kinds and amounts of white space: the uncased tokenizer
  drops these before the model sees anything, so no model could answer with one and not the other;
- spaces around punctuation and around Chinese characters: decoding sets them by rules of its own;
- sentence punctuation at the end ("csf is white." and "csf is white"): it ends a sentence and says nothing.

What is not: every other mark stays a token of its own. "3.4" is not "34", "-5" is not "5", "50%" is not "50",
"her2+" is not "her2-". Articles, word order and number words stay too; the variants in `vqa/measures.py` relax those
under names of their own.
"""

from functools import lru_cache

from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

SENTENCE_END = frozenset(".,;:!?")
LOST = "\ufffd"  # Unicode's mark of a letter that could not be read

_clean = BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=True, lowercase=True)
_split = BertPreTokenizer()


@lru_cache(maxsize=2**18)  # each text is asked for several times; with fewer places 100,000 questions evict each other
def normalize(text: str) -> str:
    """BERT's basic tokens of `text`, joined by single spaces, without sentence punctuation at the end.

    Idempotent, and invariant under `BertTokenizer` encode-decode, with or without
    `clean_up_tokenization_spaces`, as long as no word becomes [UNK]. A text of nothing but sentence
    punctuation keeps it. Source of the rules: Devlin et al. 2019, `BasicTokenizer` of google-research/bert,
    in the implementation that the model's tokenizer itself uses.
    """
    tokens = [token for token, _ in _split.pre_tokenize_str(_clean.normalize_str(text))]
    end = len(tokens)
    while end and tokens[end - 1] in SENTENCE_END:
        end -= 1
    # Decoding with clean-up writes "does n't" (Penn Treebank spelling) and "doesn't" alike.
    return " ".join(tokens[:end] or tokens).replace(" n ' t", "n ' t")


def words(text: str) -> list[str]:
    """The tokens of `normalize(text)` that hold a letter or a digit: what F1, recall and BLEU count.

    The official PathVQA script, too, drops punctuation before it counts. A text without any word (an answer
    "+") is counted by its marks.
    """
    tokens = normalize(text).split()
    return [token for token in tokens if any(map(str.isalnum, token))] or tokens


def same_text(a: str, b: str) -> bool:
    """Whether two texts are equal after `normalize`: the definition of exact match."""
    return normalize(a) == normalize(b)


def says_something(text: str) -> bool:
    """Whether a text holds a letter or a digit."""
    return any(map(str.isalnum, text))


def encodable(text: str) -> str:
    """Half surrogates (`"\\ud800"` is valid JSON) cannot be written anywhere: they become the mark of a lost letter."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
