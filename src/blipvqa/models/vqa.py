"""`BlipForVQA`: BLIP for questions about images, with the authors' numbers, and nothing computed twice.

Notable:
- A subclass of `transformers.BlipForQuestionAnswering` with the same modules and state dict: `from_pretrained`,
  `save_pretrained`, the Hub and PEFT work as people expect. Only the wiring is ours (`towers`).
- Images travel once: `pixel_values [I,3,H,W]` are the distinct images, `image_index [Q]` says which one a question
  asks about, `[Q,P]` which ones (`several_pictures`). uint8 pixels are normalized here, on the device.
- The loss is the paper's: per answer the sum of its tokens' cross-entropies, averaged over the questions.
- The true masks reach every attention, in training, generation and ranking: an answer does not depend on which other
  questions are in the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import BlipForQuestionAnswering
from transformers.models.blip.modeling_blip import BlipTextLMHeadModel, BlipTextModel, BlipVisionModel
from transformers.utils import ModelOutput

from blipvqa.models.cpu import speed_up
from blipvqa.models.decoding import Rules, Writer, write
from blipvqa.models.language import text_losses
from blipvqa.models.packing import Grid, Layout, Packed, Written, sent
from blipvqa.models.pictures import SeesPictures
from blipvqa.models.questions import Questions
from blipvqa.models.several_pictures import memory_of
from blipvqa.models.towers import Memory, text_states

RANK_SMOOTHING = 0.1  # the authors' decoder scores candidates with its training loss, smoothing included (med.py)
ANSWERS_AT_ONCE = 512  # scored together when ranking: their logits, [tokens, 30524] in fp32, are what fills memory


@dataclass
class VQAOutput(ModelOutput):
    """`loss` scalar: mean over questions of `loss_per_answer [Q]`; `logits [K,V]` of the K labelled tokens."""

    loss: Tensor | None = None
    loss_per_answer: Tensor | None = None
    logits: Tensor | None = None


class BlipForVQA(SeesPictures, BlipForQuestionAnswering):
    """BLIP for visual question answering; see the module's head for what differs from its parent.

    Keywords everywhere. Shapes: `input_ids`, `attention_mask` `[Q,Lq]`; `pixel_values [I,3,H,W]` (uint8, or float
    already normalized); `image_index [Q]` (None: question q asks about image q), or `[Q,P]` for questions about
    several images, -1 where a question has fewer.
    """

    task, architecture, purpose = "vqa", "BlipForQuestionAnswering", "question answering"
    accepts_loss_kwargs = False  # our loss is a mean over questions: Trainer divides it by accumulation steps
    _keys_to_ignore_on_load_missing = ["picture_places"]  # noqa: RUF012  # transformers' attribute; they begin as zero

    def __init__(self, config):
        super(BlipForQuestionAnswering, self).__init__(config)  # the parent would build a decoder for nothing
        self.vision_model = BlipVisionModel(config.vision_config)
        self.text_encoder = BlipTextModel(config.text_config, add_pooling_layer=False)
        self.text_decoder = BlipTextLMHeadModel(config.text_config)
        self.decoder_pad_token_id = config.text_config.pad_token_id
        self.decoder_start_token_id = config.text_config.bos_token_id
        places = getattr(config, "picture_places", 0)
        self.picture_places = nn.Parameter(torch.zeros(places, config.vision_config.hidden_size)) if places else None
        speed_up(self)
        self.post_init()

    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, BlipForVQA) and module.picture_places is not None:
            nn.init.zeros_(module.picture_places)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        image_index: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        labels: Tensor | None = None,
        answer_index: Tensor | None = None,
        answer_weights: Tensor | None = None,
        layout: Layout | None = None,
    ) -> VQAOutput:
        """The loss of the answers `labels [Q,La]` (-100 on padding; the shift is inside).

        `decoder_input_ids [Q,La]` are the same ids with the pad id on padding; they may be left out. With
        `answer_index [A]` and `answer_weights [A]` the answers are `[A,La]`, several to a question, whose loss is the
        weighted sum of theirs. `layout` is what the collator knows of where tokens stand; without it the masks are
        read. Source: salesforce/BLIP models/blip_vqa.py, `forward(train=True)`.
        """
        if labels is None:
            raise ValueError("BlipForVQA.forward needs labels [Q,La]; to answer questions call generate_answers")
        questions = self.encode(input_ids, attention_mask, pixel_values, image_index, layout=layout)
        loss, logits = self._losses(questions, decoder_input_ids, labels, answer_index, layout)
        if answer_index is not None:
            weighed = loss * answer_weights
            loss = weighed.new_zeros(questions.grid.rows).index_add(0, answer_index, weighed)
        return VQAOutput(loss=loss.mean(), loss_per_answer=loss, logits=logits)

    def answer_losses(
        self, questions: Questions, decoder_input_ids: Tensor | None, labels: Tensor, layout: Layout | None = None
    ) -> Tensor:
        """`forward`'s `loss_per_answer [Q]` for questions that are encoded already."""
        return self._losses(questions, decoder_input_ids, labels, layout=layout)[0]

    def _losses(
        self,
        questions: Questions,
        ids: Tensor | None,
        labels: Tensor,
        answer_index: Tensor | None = None,
        layout: Layout | None = None,
    ) -> tuple[Tensor, Tensor]:
        real = labels != -100
        ids = labels.masked_fill(~real, self.decoder_pad_token_id) if ids is None else ids
        if layout is None:
            answer_index = torch.arange(len(labels)) if answer_index is None else answer_index
            written = sent(Written.of(real, answer_index, questions.grid.rows), ids.device)
        else:
            written = layout.written
        return self._text_losses(questions, ids, written, self.text_decoder.label_smoothing)

    def encode(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        pixel_values: Tensor,
        image_index: Tensor | None = None,
        maps: list | None = None,
        layout: Layout | None = None,
    ) -> Questions:
        """Questions encoded together with their images.

        `maps` collects attention: each vision layer's to itself `[I,H,N,N]`, then each question layer's to the image
        `[I,H,tokens,N]`.
        """
        states = self.picture_states(pixel_values, maps)
        return self.encode_questions(input_ids, attention_mask, states, image_index, maps, layout)

    def encode_questions(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        images: Tensor,
        image_index: Tensor | None = None,
        maps: list | None = None,
        layout: Layout | None = None,
    ) -> Questions:
        """As `encode`, from image states `[I,N,D]` that are computed already."""
        places = self.picture_places
        if layout is None or (places is not None and layout.read.sets is None):
            if attention_mask is None:
                attention_mask = torch.ones_like(input_ids)
            if image_index is None:
                if len(images) != len(input_ids):
                    raise ValueError(f"{len(input_ids)} questions on {len(images)} images need image_index [Q]")
                image_index = torch.arange(len(input_ids))
            index = image_index if places is None else image_index.view(len(image_index), -1)
            read = sent(Packed.of(attention_mask, index, len(images)), images.device)
        else:
            read = layout.read
        memory = memory_of(images, read, places)
        states = text_states(self.text_encoder, read.tokens(input_ids), read.grid, memory, maps=maps)
        return Questions(states, read.grid)

    def _text_losses(
        self, questions: Questions, ids: Tensor, written: Written, smoothing: float
    ) -> tuple[Tensor, Tensor]:
        """`text_losses` of A answers `ids [A,La]` under the questions."""
        memory = Memory(questions.states, written.inputs.queries, questions.grid)
        return text_losses(self.text_decoder, ids, written, memory, smoothing)

    @torch.no_grad()
    def generate(
        self,
        input_ids: Tensor,
        pixel_values: Tensor,
        attention_mask: Tensor | None = None,
        interpolate_pos_encoding: bool = True,
        **settings,
    ) -> Tensor:
        """The parent's call, answered by `generate_answers` (position tables are always interpolated)."""
        return self.generate_answers(input_ids, attention_mask, pixel_values, **settings)

    @torch.no_grad()
    def generate_answers(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        image_index: Tensor | None = None,
        questions: Questions | None = None,
        num_beams: int = 1,
        max_new_tokens: int = 40,
        max_length: int | None = None,
        min_length: int = 1,
        repetition_penalty: float = 1.0,
    ) -> Tensor:
        """Answers `[Q, L]` that start with [DEC] and end with [SEP], padded; call `eval()` first.

        Lengths count [DEC]; `max_length` wins over `max_new_tokens`. `questions` saves encoding what is there already.
        """
        if questions is None:
            questions = self.encode(input_ids, attention_mask, pixel_values, image_index)
        states, mask = questions.padded()
        max_length = 1 + max_new_tokens if max_length is None else max_length
        # the published config's eos is 2 (docs/facts.md 1.10)
        end, pad = self.config.text_config.sep_token_id, self.decoder_pad_token_id
        rules = Rules(max_length, min_length, repetition_penalty, end, pad)
        start = torch.tensor([self.decoder_start_token_id])
        return write(Writer(self.text_decoder, states, max_length, mask), start, rules, num_beams)

    @torch.no_grad()
    def answer_log_probabilities(
        self, questions: Questions, question_index: Tensor, ids: Tensor, real: Tensor, smoothing: float = 0.0
    ) -> Tensor:
        """Log-probability `[A]` of each answer `ids`, `real` `[A,La]` to question `question_index [A]`.

        `real` and `question_index` say how the answers lie: a GPU is waited for unless they are on the CPU.
        """
        losses = []
        for index, of_part, mask in zip(
            question_index.split(ANSWERS_AT_ONCE), ids.split(ANSWERS_AT_ONCE), real.split(ANSWERS_AT_ONCE), strict=True
        ):
            written = sent(Written.of(mask, index, questions.grid.rows), ids.device)
            losses.append(self._text_losses(questions, of_part, written, smoothing)[0])
        return -torch.cat(losses)

    @torch.no_grad()
    def rank_answers(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        image_index: Tensor | None = None,
        candidate_ids: Tensor | None = None,
        candidate_mask: Tensor | None = None,
        k: int = 128,
        questions: Questions | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The best of the candidates `candidate_ids`, `candidate_mask` `[C,La]` for each question.

        Returns the candidate's index `[Q]`, and its log-probability `[Q]`. The k candidates of likeliest first token
        are scored in full, with the authors' smoothed loss; equal scores go to the earlier candidate (the authors'
        `topk` leaves that open). Source: salesforce/BLIP models/blip_vqa.py, `rank_answer`.
        """
        if questions is None:
            questions = self.encode(input_ids, attention_mask, pixel_values, image_index)
        shortlist, scores = self.rank_candidates(questions, candidate_ids, candidate_mask, k)
        best = shortlist.gather(1, scores.argmax(1, keepdim=True))
        log_p = self.candidate_scores(questions, best.cpu(), candidate_ids, candidate_mask)
        return best.squeeze(1), log_p.squeeze(1)

    @torch.no_grad()
    def rank_candidates(
        self, questions: Questions, candidate_ids: Tensor, candidate_mask: Tensor, k: int
    ) -> tuple[Tensor, Tensor]:
        """The k candidates of likeliest first token for each question `[Q,k]`, and their scores (`rank_answers`)."""
        shortlist = self.shortlist(questions, candidate_ids, k)
        scores = self.candidate_scores(questions, shortlist.cpu(), candidate_ids, candidate_mask, RANK_SMOOTHING)
        return shortlist, scores

    @torch.no_grad()
    def shortlist(self, questions: Questions, candidate_ids: Tensor, k: int) -> Tensor:
        """The k candidates of likeliest first token for each question, `[Q,k]`."""
        first = self.first_token_logits(questions).softmax(1)[:, candidate_ids[:, 1]]  # [Q, C]
        return first.argsort(dim=1, descending=True, stable=True)[:, :k]

    @torch.no_grad()
    def candidate_scores(
        self,
        questions: Questions,
        chosen: Tensor,
        candidate_ids: Tensor,
        candidate_mask: Tensor,
        smoothing: float = 0.0,
    ) -> Tensor:
        """Log-probabilities `[Q,k]` of the candidates `chosen [Q,k]` of each question.

        `chosen` and `candidate_mask` are on the CPU: how long those are decides what is computed.
        """
        count, device = chosen.shape[1], candidate_ids.device
        each, chosen = torch.arange(len(chosen)).repeat_interleave(count), chosen.flatten()
        real, ids = candidate_mask.cpu()[chosen].bool(), candidate_ids[sent(chosen, device)]
        return self.answer_log_probabilities(questions, each, ids, real, smoothing).view(-1, count)

    def first_token_logits(self, questions: Questions) -> Tensor:
        """Logits `[Q,V]` of every answer's first token."""
        count, device = questions.grid.rows, questions.states.device
        grid = sent(Grid.of_mask(torch.ones(count, 1)), device)
        memory = Memory(questions.states, grid, questions.grid)
        start = torch.full((count,), self.decoder_start_token_id, device=device)
        return self.text_decoder.cls(text_states(self.text_decoder.bert, start, grid, memory, causal=True)).float()
