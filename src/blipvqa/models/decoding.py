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

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers.models.blip.modeling_blip import BlipTextLMHeadModel

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
    taken[:, :, :length] = stored[rows, :, :length]
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
    tokens, is_open, looks = ids, torch.ones_like(rows, dtype=torch.bool), Looks(device)
    while True:
        token = choose(rules.apply(writer.logits(tokens), ids), memories)
        texts[rows, ids.shape[1]] = token.where(is_open, rules.pad)
        tokens = token[:, None]
        ids = torch.cat([ids, tokens], dim=1)
        is_open = is_open & (token != rules.end)
        looks.send(is_open)
        seen = looks.newest()
        if ids.shape[1] >= rules.max_length or (seen is not None and not seen.any()):
            return texts[:, : ids.shape[1]]
        if seen is not None and 1 - seen.float().mean().item() >= COMPACTED_FROM:
            (places,) = seen.nonzero(as_tuple=True)
            memories, places = [memories[place] for place in places.tolist()], sent(places, device)
            writer.leave(places)
            writer.follow(places)
            rows, ids, tokens, is_open = rows[places], ids[places], tokens[places], is_open[places]
            looks = Looks(device)  # what is under way tells of other rows


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

    def best(self) -> list[int]:
        return sorted(self.texts, key=lambda scored: scored[0])[-1][1]  # of equal ones the last, as the authors


def beam_search(writer: Writer, start: Tensor, beams: int, rules: Rules) -> list[list[int]]:
    """The best of `beams` texts for each memory, which begins with `start [P]`; [SEP] at its end where it fits."""
    finished = [Finished(beams, rules) for _ in range(writer.memories)]
    memories = list(range(writer.memories))
    device, ids = writer.device, start.repeat(len(memories), 1)  # [R, L]: one text a memory at first, then `beams`
    sums, tokens = torch.zeros(len(memories), 1), ids  # sums [memories, texts of each]
    while True:
        on_device, before = sent(ids, device), sent(sums, device)
        scores = rules.apply(writer.logits(on_device[:, -tokens.shape[1] :]).log_softmax(1), on_device)
        best, place = (scores + before.view(-1, 1)).view(len(memories), -1).topk(2 * beams, dim=1)
        both = torch.stack([best.view(torch.int32), place.int()]).cpu()  # the one wait of a token
        best, place, vocabulary = both[0].view(torch.float32), both[1].long(), scores.shape[1]
        offset = sums.shape[1] * torch.arange(len(memories))[:, None]
        step = _Step(best.tolist(), (place // vocabulary + offset).tolist(), (place % vocabulary).tolist())
        rows, next_tokens, next_sums = step.taken([finished[i] for i in memories], ids, beams)
        rows, tokens, sums = torch.tensor(rows), torch.tensor(next_tokens)[:, None], torch.tensor(next_sums)
        ids = torch.cat([ids[rows], tokens], dim=1)
        open_places = [place for place, i in enumerate(memories) if not finished[i].done]
        if not open_places or ids.shape[1] >= rules.max_length:
            break
        if len(open_places) <= (1 - COMPACTED_FROM) * len(memories):
            of = torch.tensor(open_places)
            texts = (of[:, None] * beams + torch.arange(beams)).flatten()
            writer.leave(sent(of, device))
            rows, ids, tokens, sums = rows[texts], ids[texts], tokens[texts], sums[of]
            memories = [memories[place] for place in open_places]
        writer.follow(sent(rows, device))
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
