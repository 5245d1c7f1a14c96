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

from blipvqa.models.attention import attend
from blipvqa.models.towers import embed_tokens

# (scores [R,V]: logits under the rules, memories [R]: whose they are) -> tokens [R]
Choice = Callable[[Tensor, Tensor], Tensor]
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
        self.decoder, self.memories, self.length = decoder, len(states), 0
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
    taken[:, :, :length] = stored[rows, :, :length]
    return taken


def write(writer: Writer, start: Tensor, rules: Rules, beams: int = 1, choose: Choice | None = None) -> Tensor:
    """One text for each memory, `[M,L]` padded, which begins with `start [P]`: by `choose` where it is given, else the
    likeliest of `beams`."""
    if choose is None and beams > 1:
        texts = beam_search(writer, start, beams, rules)
    else:
        texts = write_one_by_one(writer, start, rules, choose or likeliest)
    ids = torch.full((len(texts), max(map(len, texts))), rules.pad)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = torch.tensor(text)
    return ids.to(start.device)


# ------------------------------------------------------------------------------------------- one text a memory


def write_one_by_one(writer: Writer, start: Tensor, rules: Rules, choose: Choice) -> list[list[int]]:
    """One text for each memory, which begins with `start [P]`: token after token as `choose` says."""
    texts: list[list[int]] = [[] for _ in range(writer.memories)]
    memories = torch.arange(writer.memories, device=start.device)
    ids = start.repeat(len(memories), 1)
    tokens, is_open = ids, torch.ones_like(memories, dtype=torch.bool)
    while len(memories):
        token = choose(rules.apply(writer.logits(tokens), ids), memories)
        tokens = token[:, None]
        ids = torch.cat([ids, tokens], dim=1)
        ends = is_open & ((token == rules.end) | (ids.shape[1] >= rules.max_length))
        for memory, text in zip(memories[ends].tolist(), ids[ends].tolist(), strict=True):
            texts[memory] = text
        is_open = is_open & ~ends
        share = 1 - is_open.float().mean().item()
        if share == 1:
            break
        if share >= COMPACTED_FROM:
            (rows,) = is_open.nonzero(as_tuple=True)
            writer.leave(rows)
            writer.follow(rows)
            memories, ids, tokens, is_open = memories[rows], ids[rows], tokens[rows], is_open[rows]
    return texts


def likeliest(scores: Tensor, _memories: Tensor) -> Tensor:
    """The token of the highest score, as `write_one_by_one` asks for it: greedy search."""
    return scores.argmax(1)


def nucleus(scores: Tensor, top_k: int | None, top_p: float) -> Tensor:
    """Probabilities `[R,V]` that a token is drawn with: of the `top_k` likeliest, those that make up `top_p`.

    The authors' call leaves transformers' default of 50 for `top_k` in place; None takes `top_p` of all tokens
    (docs/facts.md 7.7).
    """
    if top_k is not None and top_k < scores.shape[1]:
        scores = scores.masked_fill(scores < scores.topk(top_k, dim=1).values[:, -1:], float("-inf"))
    probabilities, order = scores.softmax(1).sort(dim=1, descending=True, stable=True)
    before = probabilities.cumsum(1) - probabilities
    probabilities = probabilities.masked_fill(before > top_p, 0.0)
    probabilities = probabilities / probabilities.sum(1, keepdim=True)
    return torch.zeros_like(probabilities).scatter(1, order, probabilities)


def drawn_by(seeds: Sequence[int], top_k: int | None, top_p: float) -> Choice:
    """A draw from the nucleus; each memory has a seed of its own."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def choose(scores: Tensor, memories: Tensor) -> Tensor:
        numbers = torch.stack([torch.rand((), generator=generators[i]) for i in memories.tolist()]).to(scores.device)
        probabilities, order = nucleus(scores, top_k, top_p).sort(dim=1, descending=True, stable=True)
        place = (probabilities.cumsum(1) < numbers[:, None]).sum(1, keepdim=True)
        last = (probabilities > 0).sum(1, keepdim=True) - 1  # sums of rounded numbers may stay below 1
        return order.gather(1, place.minimum(last)).squeeze(1)

    return choose


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

    def best(self) -> list[int]:
        return sorted(self.texts, key=lambda scored: scored[0])[-1][1]  # of equal ones the last, as the authors


def beam_search(writer: Writer, start: Tensor, beams: int, rules: Rules) -> list[list[int]]:
    """The best of `beams` texts for each memory, which begins with `start [P]`; [SEP] at its end where it fits."""
    finished = [Finished(beams, rules) for _ in range(writer.memories)]
    memories = list(range(writer.memories))
    ids = start.repeat(len(memories), 1)  # [R, L]: one text a memory at first, then `beams`
    sums = torch.zeros(len(memories), 1, device=start.device)  # [memories, texts of each]
    tokens = ids
    while True:
        scores = rules.apply(writer.logits(tokens).log_softmax(1), ids) + sums.view(-1, 1)
        vocabulary, texts_each = scores.shape[1], sums.shape[1]
        best, place = scores.view(len(memories), -1).topk(2 * beams, dim=1)
        offset = texts_each * torch.arange(len(memories), device=place.device)[:, None]
        step = _Step(best.tolist(), (place // vocabulary + offset).tolist(), (place % vocabulary).tolist())
        rows, next_tokens, next_sums = step.taken([finished[i] for i in memories], ids, beams)
        rows = torch.tensor(rows, device=ids.device)
        tokens = torch.tensor(next_tokens, device=ids.device)[:, None]
        ids = torch.cat([ids[rows], tokens], dim=1)
        sums = torch.tensor(next_sums, device=ids.device)
        open_places = [place for place, i in enumerate(memories) if not finished[i].done]
        if not open_places or ids.shape[1] >= rules.max_length:
            break
        if len(open_places) <= (1 - COMPACTED_FROM) * len(memories):
            of = torch.tensor(open_places, device=ids.device)
            texts = (of[:, None] * beams + torch.arange(beams, device=ids.device)).flatten()
            writer.leave(of)
            rows, ids, tokens, sums = rows[texts], ids[texts], tokens[texts], sums[of]
            memories = [memories[place] for place in open_places]
        writer.follow(rows)
    if rules.library_start is None:
        for place, i in enumerate(memories):
            for beam in range(0 if finished[i].done else beams):
                finished[i].add(ids[place * beams + beam].tolist(), sums[place, beam].item(), ended=False)
    best_texts = [each.best() for each in finished]
    return [text + [rules.end] * (len(text) < rules.max_length) for text in best_texts]


@dataclass
class _Step:
    """The `2 · beams` best continuations of each memory: their sums, the texts they continue, and by which token."""

    sums: list[list[float]]
    rows: list[list[int]]
    tokens: list[list[int]]

    def taken(self, finished: list[Finished], ids: Tensor, beams: int) -> tuple[list, list, list]:
        """Texts that go on, `beams` a memory, as rows, tokens and sums; those that end are added to `finished`.

        An end counts among the best `beams` continuations only. At the largest length the library ends every
        continuation; under the authors' rule the texts that are open then join later.
        """
        rows: list[int] = []
        tokens: list[int] = []
        sums: list[list[float]] = []
        for each, *continuations in zip(finished, self.sums, self.rows, self.tokens, strict=True):
            rules, going_on = each.rules, []
            last = rules.library_start is not None and ids.shape[1] + 1 >= rules.max_length
            for rank, (total, row, token) in enumerate(zip(*continuations, strict=True)):
                ended = token == rules.end
                if not ended:
                    going_on.append((total, row, token))
                if (ended or last) and rank < beams and not each.done:
                    each.add(ids[row].tolist() + [token] * (not ended), total, ended)
                if len(going_on) == beams:
                    break
            if rules.library_start is None:  # compared as the continuation of a text that is not longer yet
                each.settle(rules.score(continuations[0][0], ids.shape[1], ended=False))
            else:
                each.settle(rules.score(going_on[0][0], ids.shape[1] + 1, ended=False))
            rows += [row for _, row, _ in going_on]
            tokens += [token for *_, token in going_on]
            sums.append([total for total, *_ in going_on])
        return rows, tokens, sums
