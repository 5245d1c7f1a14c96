"""Texts written token by token, captions under pictures and answers to questions: greedy, by beams, or drawn.

Notable:
- `Writer` holds what the decoder remembers. A memory (a picture, a question) has its keys and values projected once and
  read by all of its beams together; the start (a prompt) runs once a memory, not once a beam.
- The rules are those of transformers 4.15, with which the authors' numbers were made (docs/facts.md 7.5): a finished
  text's score is its sum of log-probabilities divided by its length with start and prompt, without [SEP].
- transformers' `generate` is not used: since 5.24 it hands its cache over under another name, and a decoder that does
  not know the name goes on without a memory, without a word.
- A text does not depend on its batch: memories only share matrix products, and each has a random number of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers.models.blip.modeling_blip import BlipTextLMHeadModel

from blipvqa.errors import InputError
from blipvqa.models.attention import attend
from blipvqa.models.looks import Looks
from blipvqa.models.packing import sent
from blipvqa.models.towers import embed_tokens

# (scores [R,V]: logits under the rules, the R memories whose they are) -> tokens [R]
Choice = Callable[[Tensor, list[int]], Tensor]
COMPACTED_FROM = 0.25  # share of finished texts from which on the open ones are copied together: copying costs too


@dataclass(frozen=True)
class Rules:
    """What may be written, and by which length beams are compared. Lengths count the start and the prompt.

    `library_start` is None for the authors' rule (docs/facts.md 7.5): a text's sum is divided by its length with its
    start, without [SEP]. For what transformers 5 does (docs/facts.md 13.4) it is the start's length: that is left out,
    and [SEP] counts.
    """

    max_length: int
    min_length: int
    repetition_penalty: float
    end: int  # the id of [SEP]
    pad: int
    library_start: int | None = None

    def score(self, total: float, length: int, ended: bool) -> float:
        """The score of a text of this sum and `length` without [SEP]."""
        return total / length if self.library_start is None else total / (length - self.library_start + ended)

    def apply(self, scores: Tensor, ids: Tensor) -> Tensor:
        """`scores [R,V]`, logits or log-probabilities, under the rules for what follows `ids [R,L]`.

        The penalty touches every token that is there already, start and prompt included (Keskar et al. 2019).
        """
        if self.repetition_penalty != 1.0:
            there = scores.gather(1, ids)
            there = torch.where(there < 0, there * self.repetition_penalty, there / self.repetition_penalty)
            scores = scores.scatter(1, ids, there)
        if ids.shape[1] < self.min_length:
            scores = scores.clone()
            scores[:, self.end] = float("-inf")
        return scores


class Writer:
    """A text decoder in the middle of its texts: some texts for each of M memories `states [M,N,D]`, `mask [M,N]`.

    Of every layer it holds the memories' keys and values `[M,H,N,d]`, and those of the R texts' tokens `[R,H,L,d]`.
    """

    def __init__(self, decoder: BlipTextLMHeadModel, states: Tensor, max_length: int, mask: Tensor | None = None):
        self.decoder, self.memories, self.length, self.device = decoder, len(states), 0, states.device
        self.mask = None if mask is None else mask.bool()[:, None, None, :]
        self.seen: list[tuple[Tensor, Tensor]] = []
        self.written: list[tuple[Tensor, Tensor]] = []
        for layer in decoder.bert.encoder.layer:
            cross, heads = layer.crossattention.self, layer.attention.self.num_attention_heads
            seen = tuple(
                # read again for every token: strided, as they were projected, attention takes half as long again
                part(states).view(*states.shape[:2], heads, -1).transpose(1, 2).contiguous()
                for part in (cross.key, cross.value)
            )
            self.seen.append(seen)
            room = (len(states), heads, max_length, layer.attention.self.attention_head_size)
            self.written.append(tuple(seen[0].new_empty(room) for _ in range(2)))

    def logits(self, ids: Tensor) -> Tensor:
        """Logits `[R,V]` of what follows, after `ids [R,L]` more tokens; R is a multiple of the memories."""
        bert, (rows, count) = self.decoder.bert, ids.shape
        start, self.length = self.length, self.length + count
        positions = torch.arange(start, self.length, device=ids.device)
        x = embed_tokens(bert.embeddings, ids, positions)  # [R, L, D]
        for layer, (seen_keys, seen_values), (keys, values) in zip(
            bert.encoder.layer, self.seen, self.written, strict=True
        ):
            attention, cross = layer.attention.self, layer.crossattention.self
            query, key, value = (
                part(x).view(rows, count, keys.shape[1], -1).transpose(1, 2)
                for part in (attention.query, attention.key, attention.value)
            )
            keys[:, :, start : self.length], values[:, :, start : self.length] = key, value
            y = attend(query, keys[:, :, : self.length], values[:, :, : self.length], causal=count > 1)
            x = layer.attention.output(y.transpose(1, 2).flatten(2), x)
            # all texts of a memory in one row: its keys and values are read once for them
            query = cross.query(x).view(self.memories, -1, seen_keys.shape[1], seen_keys.shape[3]).transpose(1, 2)
            y = attend(query, seen_keys, seen_values, self.mask)
            x = layer.crossattention.output(y.transpose(1, 2).reshape(x.shape), x)
            x = layer.feed_forward_chunk(x)
        return self.decoder.cls(x[:, -1:])[:, 0].float()

    def follow(self, rows: Tensor) -> None:
        """Go on with the texts `rows [R']` as they are now; the same number of texts for each memory."""
        self.written = [tuple(_taken(part, rows, self.length) for part in parts) for parts in self.written]

    def leave(self, memories: Tensor) -> None:
        """Go on with these memories only."""
        self.memories = len(memories)
        self.seen = [(keys[memories], values[memories]) for keys, values in self.seen]
        self.mask = None if self.mask is None else self.mask[memories]


def _taken(stored: Tensor, rows: Tensor, length: int) -> Tensor:
    taken = stored.new_empty((len(rows), *stored.shape[1:]))
    # into its place: what `stored[rows]` makes would be copied once more
    torch.index_select(stored[:, :, :length], 0, rows, out=taken[:, :, :length])
    return taken


def write(writer: Writer, start: Tensor, rules: Rules, beams: int = 1, choose: Choice | None = None) -> Tensor:
    """One text for each memory, `[M,L]` padded: by `choose` where it is given, else the likeliest of `beams`.

    It begins with `start [P]`, which is given on the CPU.
    """
    if choose is not None or beams == 1:
        return write_one_by_one(writer, start, rules, choose or likeliest)
    texts = beam_search(writer, start, beams, rules)
    ids = torch.full((len(texts), max(map(len, texts))), rules.pad)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = torch.tensor(text)
    return sent(ids, writer.device)


# ------------------------------------------------------------------------------------------- one text a memory


def write_one_by_one(writer: Writer, start: Tensor, rules: Rules, choose: Choice) -> Tensor:
    """One text for each memory, `[M,L]` padded, which begins with `start [P]`: token after token as `choose` says.

    Which texts are open is decided on the device, and looked at when it is there: so a GPU goes on meanwhile.
    """
    count, device, start = writer.memories, writer.device, sent(start, writer.device)
    texts = torch.full((count, max(rules.max_length, 1 + len(start))), rules.pad, device=device)
    texts[:, : len(start)] = start
    memories, rows = list(range(count)), torch.arange(count, device=device)
    ids = start.repeat(count, 1)
    tokens, is_open, looks = ids, torch.ones_like(rows, dtype=torch.bool), Looks()
    seen_open = torch.ones(count, dtype=torch.bool)
    while True:
        token = choose(rules.apply(writer.logits(tokens), ids), memories)
        texts[rows, ids.shape[1]] = token.where(is_open, rules.pad)
        tokens = token[:, None]
        ids = torch.cat([ids, tokens], dim=1)
        is_open = is_open & (token != rules.end)
        looks.send(torch.tensor(memories), is_open)
        for of, seen in looks.arrived():
            seen_open[of] &= seen
        if ids.shape[1] >= rules.max_length or not seen_open.any():
            return texts[:, : ids.shape[1]]
        here = seen_open[memories]
        if 1 - here.float().mean().item() >= COMPACTED_FROM:
            (places,) = here.nonzero(as_tuple=True)
            memories, places = [memories[place] for place in places.tolist()], sent(places, device)
            writer.leave(places)
            writer.follow(places)
            rows, ids, tokens, is_open = rows[places], ids[places], tokens[places], is_open[places]


def likeliest(scores: Tensor, _memories: list[int]) -> Tensor:
    """The token of the highest score, as `write_one_by_one` asks for it: greedy search."""
    return scores.argmax(1)


# ------------------------------------------------------------------------------------------------- beam search


@dataclass
class Finished:
    """The best finished texts of one memory, at most `beams`."""

    beams: int
    rules: Rules
    texts: list[tuple[float, list[int]]] = field(default_factory=list)  # (score, ids without [SEP])
    done: bool = False

    def add(self, text: list[int], log_probability: float, ended: bool) -> None:
        self.texts.append((self.rules.score(log_probability, len(text), ended), text))
        if len(self.texts) > self.beams:
            self.texts.remove(min(self.texts, key=lambda scored: scored[0]))

    def settle(self, best_open: float) -> None:
        """Done when there are enough texts, and none that is open has a better score than they."""
        enough = len(self.texts) == self.beams
        self.done = self.done or (enough and min(score for score, _ in self.texts) >= best_open)

    def take(self, ids: Tensor, continuations: Sequence[tuple[float, int, int]]) -> None:
        """Add what ends among the `2 · beams` best continuations: their sums, the rows of `ids [R,L]` that they
        continue, and by which token.

        An end counts among the best `beams` continuations only. At the largest length the library ends every
        continuation; under the authors' rule the texts that are open then join later.
        """
        rules, length, going_on = self.rules, ids.shape[1], []
        is_last, by_library = length + 1 >= rules.max_length, rules.library_start is not None
        for rank, (total, row, token) in enumerate(continuations):
            ended = token == rules.end
            if not ended:
                going_on.append((total, row, token))
            if (ended or (is_last and by_library)) and rank < self.beams and not self.done:
                self.add(ids[row].tolist() + [token] * (not ended), total, ended)
            if len(going_on) == self.beams:
                break
        if by_library:
            self.settle(rules.score(going_on[0][0], length + 1, ended=False))
        else:  # compared as the continuation of a text that is not longer yet
            self.settle(rules.score(continuations[0][0], length, ended=False))
        for total, row, token in going_on if is_last and not by_library and not self.done else ():
            self.add([*ids[row].tolist(), token], total, ended=False)

    def best(self) -> list[int]:
        return sorted(self.texts, key=lambda scored: scored[0])[-1][1]  # of equal ones the last, as the authors


def beam_search(writer: Writer, start: Tensor, beams: int, rules: Rules) -> list[list[int]]:
    """The best of `beams` texts for each memory, which begins with `start [P]`; [SEP] at its end where it fits.

    Which texts go on follows from their sums alone, and is decided on the device. What has ended is counted on the
    CPU, as soon as it is there: a GPU goes on meanwhile, and writes `looks.AHEAD` tokens at most that nobody needs.
    """
    device, looks, memories = writer.device, Looks(), list(range(writer.memories))
    finished = [Finished(beams, rules) for _ in memories]
    ids = sent(start, device).repeat(len(memories), 1)  # [R, L]: one text a memory at first, then `beams`
    tokens, sums = ids, torch.zeros(len(memories), 1, device=device)  # sums [memories, texts of each]
    while True:
        scores = rules.apply(writer.logits(tokens).log_softmax(1), ids)
        best = _continuations(scores, sums, 2 * beams)
        looks.send(torch.tensor(memories), ids, *best)
        going_on = (best[2] == rules.end).int().argsort(dim=1, stable=True)[:, :beams]  # those that do not end first
        sums, rows, tokens = (each.gather(1, going_on) for each in best)
        rows, tokens = rows.flatten(), tokens.view(-1, 1)
        ids = torch.cat([ids[rows], tokens], dim=1)
        is_last = ids.shape[1] >= rules.max_length
        for of, texts, *each in looks.arrived(everything=is_last):
            for i, *continuations in zip(of.tolist(), *(x.tolist() for x in each), strict=True):
                finished[i].take(texts, list(zip(*continuations, strict=True)))
        open_places = [place for place, i in enumerate(memories) if not finished[i].done]
        if is_last or not open_places:
            break
        if len(open_places) <= (1 - COMPACTED_FROM) * len(memories):
            of = torch.tensor(open_places)
            memories = [memories[place] for place in open_places]
            of, places = (sent(x, device) for x in (of, (of[:, None] * beams + torch.arange(beams)).flatten()))
            writer.leave(of)
            rows, ids, tokens, sums = rows[places], ids[places], tokens[places], sums[of]
        writer.follow(rows)
    best_texts = [each.best() for each in finished]
    return [text + [rules.end] * (len(text) < rules.max_length) for text in best_texts]


def _continuations(scores: Tensor, sums: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best continuations of M memories by `scores [R,V]` of tokens after texts of `sums [M,texts of each]`: their
    sums, the texts they continue, and by which token, `[M,count]` each. Raises InputError where there are fewer."""
    (memories, texts), vocabulary = sums.shape, scores.shape[1]
    if count > texts * vocabulary:  # of the first token there are no more than the vocabulary's
        raise InputError(
            f"{count // 2} beams need {count} tokens to choose from, and the vocabulary has {vocabulary}: "
            f"set num_beams to {vocabulary // 2} or fewer"
        )
    best, place = (scores + sums.view(-1, 1)).view(memories, -1).topk(count, dim=1)
    first = texts * torch.arange(memories, device=scores.device)[:, None]
    return best, place // vocabulary + first, place % vocabulary
