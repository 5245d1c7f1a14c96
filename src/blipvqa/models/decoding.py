"""Texts written under pictures, token by token: greedy, by the authors' beam search, or drawn (nucleus sampling).

Notable:
- `Writer` holds what the decoder remembers. A picture's keys and values are projected once and read by all of its
  beams together; the start (a prompt) runs once a picture, not once a beam.
- The rules are those of transformers 4.15, with which the authors' numbers were made (docs/facts.md 7.5): a finished
  text's score is its sum of log-probabilities divided by its length with start and prompt, without [SEP].
- A text does not depend on its batch: pictures only share matrix products, and each has a random number of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from blipvqa.models.attention import attend
from blipvqa.models.language import TextDecoder
from blipvqa.models.towers import embed_tokens

COMPACTED_FROM = 0.25  # share of finished pictures from which on the open ones are copied together: copying costs too


@dataclass(frozen=True)
class Rules:
    """What may be written. Lengths count the start and the prompt."""

    max_length: int
    min_length: int
    repetition_penalty: float
    end: int  # the id of [SEP]
    pad: int

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
    """A text decoder in the middle of its texts: some texts for each of I pictures `images [I,N,D]`.

    Of every layer it holds the pictures' keys and values `[I,H,N,d]`, and those of the R texts' tokens `[R,H,L,d]`.
    """

    def __init__(self, decoder: TextDecoder, images: Tensor, max_length: int):
        self.decoder, self.pictures, self.length = decoder, len(images), 0
        self.seen: list[tuple[Tensor, Tensor]] = []
        self.written: list[tuple[Tensor, Tensor]] = []
        for layer in decoder.bert.encoder.layer:
            cross, heads = layer.crossattention.self, layer.attention.self.num_attention_heads
            seen = tuple(
                part(images).view(*images.shape[:2], heads, -1).transpose(1, 2) for part in (cross.key, cross.value)
            )
            self.seen.append(seen)
            room = (len(images), heads, max_length, layer.attention.self.attention_head_size)
            self.written.append(tuple(seen[0].new_empty(room) for _ in range(2)))

    def logits(self, ids: Tensor) -> Tensor:
        """Logits `[R,V]` of what follows, after `ids [R,L]` more tokens; R is a multiple of the pictures."""
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
            # all texts of a picture in one row: its keys and values are read once for them
            query = cross.query(x).view(self.pictures, -1, seen_keys.shape[1], seen_keys.shape[3]).transpose(1, 2)
            y = attend(query, seen_keys, seen_values)
            x = layer.crossattention.output(y.transpose(1, 2).reshape(x.shape), x)
            x = layer.feed_forward_chunk(x)
        return self.decoder.cls(x[:, -1]).float()

    def follow(self, rows: Tensor) -> None:
        """Go on with the texts `rows [R']` as they are now; the same number of texts for each picture."""
        self.written = [tuple(_taken(part, rows, self.length) for part in parts) for parts in self.written]

    def leave(self, pictures: Tensor) -> None:
        """Go on with these pictures only."""
        self.pictures = len(pictures)
        self.seen = [(keys[pictures], values[pictures]) for keys, values in self.seen]


def _taken(stored: Tensor, rows: Tensor, length: int) -> Tensor:
    taken = stored.new_empty((len(rows), *stored.shape[1:]))
    taken[:, :, :length] = stored[rows, :, :length]
    return taken


# ------------------------------------------------------------------------------------------- one text a picture


def write_one_by_one(
    writer: Writer, start: Tensor, rules: Rules, choose: Callable[[Tensor, Tensor], Tensor]
) -> list[list[int]]:
    """One text for each picture, which begins with `start [P]`: token after token as `choose(scores, pictures)` says.

    `scores [R,V]` are logits under the rules, `pictures [R]` says whose; it returns `[R]`.
    """
    texts: list[list[int]] = [[] for _ in range(writer.pictures)]
    pictures = torch.arange(writer.pictures, device=start.device)
    ids = start.repeat(len(pictures), 1)
    tokens, is_open = ids, torch.ones_like(pictures, dtype=torch.bool)
    while len(pictures):
        token = choose(rules.apply(writer.logits(tokens), ids), pictures)
        tokens = token[:, None]
        ids = torch.cat([ids, tokens], dim=1)
        ends = is_open & ((token == rules.end) | (ids.shape[1] >= rules.max_length))
        for picture, text in zip(pictures[ends].tolist(), ids[ends].tolist(), strict=True):
            texts[picture] = text
        is_open = is_open & ~ends
        share = 1 - is_open.float().mean().item()
        if share == 1:
            break
        if share >= COMPACTED_FROM:
            (rows,) = is_open.nonzero(as_tuple=True)
            writer.leave(rows)
            writer.follow(rows)
            pictures, ids, tokens, is_open = pictures[rows], ids[rows], tokens[rows], is_open[rows]
    return texts


def likeliest(scores: Tensor, _pictures: Tensor) -> Tensor:
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


def drawn_by(seeds: Sequence[int], top_k: int | None, top_p: float) -> Callable[[Tensor, Tensor], Tensor]:
    """`choose` for `write_one_by_one`: a draw from the nucleus; each picture has a seed of its own."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def choose(scores: Tensor, pictures: Tensor) -> Tensor:
        numbers = torch.stack([torch.rand((), generator=generators[i]) for i in pictures.tolist()]).to(scores.device)
        probabilities, order = nucleus(scores, top_k, top_p).sort(dim=1, descending=True, stable=True)
        place = (probabilities.cumsum(1) < numbers[:, None]).sum(1, keepdim=True)
        last = (probabilities > 0).sum(1, keepdim=True) - 1  # sums of rounded numbers may stay below 1
        return order.gather(1, place.minimum(last)).squeeze(1)

    return choose


# ------------------------------------------------------------------------------------------------- beam search


@dataclass
class Finished:
    """The best finished texts of one picture, at most `beams`."""

    beams: int
    texts: list[tuple[float, list[int]]] = field(default_factory=list)  # (score, ids without [SEP])
    done: bool = False

    def add(self, text: list[int], log_probability: float) -> None:
        self.texts.append((log_probability / len(text), text))
        if len(self.texts) > self.beams:
            self.texts.remove(min(self.texts, key=lambda scored: scored[0]))

    def settle(self, best_open: float, length: int) -> None:
        """Done when there are enough texts, and none that is open could be better at its present length."""
        enough = len(self.texts) == self.beams
        self.done = self.done or (enough and min(score for score, _ in self.texts) >= best_open / length)

    def best(self) -> list[int]:
        return sorted(self.texts, key=lambda scored: scored[0])[-1][1]  # of equal ones the last, as the authors


def beam_search(writer: Writer, start: Tensor, beams: int, rules: Rules) -> list[list[int]]:
    """The best of `beams` texts for each picture, which begins with `start [P]`; [SEP] at its end where it fits."""
    finished = [Finished(beams) for _ in range(writer.pictures)]
    pictures = list(range(writer.pictures))
    ids = start.repeat(len(pictures), 1)  # [R, L]: one text a picture at first, then `beams`
    sums = torch.zeros(len(pictures), 1, device=start.device)  # [pictures, texts of each]
    tokens = ids
    while True:
        scores = rules.apply(writer.logits(tokens).log_softmax(1), ids) + sums.view(-1, 1)
        vocabulary, texts_each = scores.shape[1], sums.shape[1]
        best, place = scores.view(len(pictures), -1).topk(2 * beams, dim=1)
        offset = texts_each * torch.arange(len(pictures), device=place.device)[:, None]
        step = _Step(best.tolist(), (place // vocabulary + offset).tolist(), (place % vocabulary).tolist())
        rows, next_tokens, next_sums = step.taken([finished[i] for i in pictures], ids, beams, rules.end)
        rows = torch.tensor(rows, device=ids.device)
        tokens = torch.tensor(next_tokens, device=ids.device)[:, None]
        ids = torch.cat([ids[rows], tokens], dim=1)
        sums = torch.tensor(next_sums, device=ids.device)
        open_places = [place for place, i in enumerate(pictures) if not finished[i].done]
        if not open_places or ids.shape[1] >= rules.max_length:
            break
        if len(open_places) <= (1 - COMPACTED_FROM) * len(pictures):
            of = torch.tensor(open_places, device=ids.device)
            texts = (of[:, None] * beams + torch.arange(beams, device=ids.device)).flatten()
            writer.leave(of)
            rows, ids, tokens, sums = rows[texts], ids[texts], tokens[texts], sums[of]
            pictures = [pictures[place] for place in open_places]
        writer.follow(rows)
    for place, i in enumerate(pictures):
        if not finished[i].done:
            for beam in range(beams):
                finished[i].add(ids[place * beams + beam].tolist(), sums[place, beam].item())
    best_texts = [each.best() for each in finished]
    return [text + [rules.end] * (len(text) < rules.max_length) for text in best_texts]


@dataclass
class _Step:
    """The `2 · beams` best continuations of each picture: their sums, the texts they continue, and by which token."""

    sums: list[list[float]]
    rows: list[list[int]]
    tokens: list[list[int]]

    def taken(self, finished: list[Finished], ids: Tensor, beams: int, end: int) -> tuple[list, list, list]:
        """Texts that go on, `beams` a picture, as rows, tokens and sums; those that end are added to `finished`.

        An end counts among the best `beams` continuations only.
        """
        rows: list[int] = []
        tokens: list[int] = []
        sums: list[list[float]] = []
        for each, *continuations in zip(finished, self.sums, self.rows, self.tokens, strict=True):
            going_on: list[tuple[float, int, int]] = []
            for rank, (total, row, token) in enumerate(zip(*continuations, strict=True)):
                if token != end:
                    going_on.append((total, row, token))
                elif rank < beams and not each.done:
                    each.add(ids[row].tolist(), total)
                if len(going_on) == beams:
                    break
            each.settle(continuations[0][0], ids.shape[1])
            rows += [row for _, row, _ in going_on]
            tokens += [token for *_, token in going_on]
            sums.append([total for total, *_ in going_on])
        return rows, tokens, sums
