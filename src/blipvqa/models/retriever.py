"""`BlipForRetrieval`: BLIP that finds pictures by words and words by pictures, with the authors' training.

Notable:
- A subclass of `transformers.BlipForImageTextRetrieval` with the same modules. Only the wiring is ours (`towers`):
  images travel once, texts are packed, all texts that are compared with one image share its keys and values.
- It has what its parent lacks (docs/facts.md 13.7): losses, the learnt temperature, momentum towers and a queue.
- Momentum towers and queue live beside the model (`start_contrast`): no state dict, export or count of weights holds
  them; checkpoints do. The temperature is exported as `contrast_temperature` in config.json: so the weights of an
  export are exactly the parent's, and it is not lost.
- ITC's texts begin with [CLS], ITM's with [ENC] (docs/facts.md 8.2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BlipForImageTextRetrieval
from transformers.models.blip.modeling_blip import BlipTextModel, BlipVisionModel
from transformers.utils import ModelOutput

from blipvqa.models.contrast import (
    TEMPERATURES,
    Contrast,
    Features,
    Momentum,
    Queue,
    belong_together,
    contrast_losses,
    draw_both_ways,
    soft_targets,
)
from blipvqa.models.cpu import speed_up
from blipvqa.models.looks import Look
from blipvqa.models.packing import Layout, Packed, sent
from blipvqa.models.pictures import SeesPictures
from blipvqa.models.processes import gathered, own_rows, sizes_of_all
from blipvqa.models.several_pictures import among_all, memory_of, shown_features
from blipvqa.models.towers import normalized, text_states

TEMPERATURE = 0.07  # before training


@dataclass
class RetrievalOutput(ModelOutput):
    """`loss` is the sum of the means of both losses over this process's rows; `loss_per_row [Q]` is what each row adds,
    `itc_per_row [Q]` what of it is ITC's.

    `itm_logits [3·Q,2]` are of the pairs, of the texts with another image, and of the images with another text; index 1
    is a match.
    """

    loss: Tensor | None = None
    loss_per_row: Tensor | None = None
    loss_itc: Tensor | None = None
    loss_itm: Tensor | None = None
    itc_per_row: Tensor | None = None
    itm_logits: Tensor | None = None


class BlipForRetrieval(SeesPictures, BlipForImageTextRetrieval):
    """BLIP for retrieval; see the module's head for what differs from its parent.

    Keywords everywhere. Shapes: `input_ids`, `attention_mask` `[Q,L]`, which begin with [CLS]; `pixel_values
    [I,3,H,W]` (uint8, or float already normalized); `image_index [Q]` (None: text q belongs to image q), or of clips
    `[Q,F]` (-1: fewer frames than F); `image_ids [Q]` and `text_ids [Q]` whole numbers that are equal where two rows
    show one picture or clip, or say the same, in this batch or in an earlier one; without `text_ids` no two pictures
    have an equal text.
    """

    task, architecture, purpose = "retrieval", "BlipForImageTextRetrieval", "retrieval"
    _keys_to_ignore_on_save = ["temp"]  # noqa: RUF012  # transformers' attribute; config.json holds it
    _keys_to_ignore_on_load_missing = ["temp"]  # noqa: RUF012
    accepts_loss_kwargs = False
    exchanged_by_followers, negative_floor = False, 0.0  # whether pairs are exchanged by similarities to slow towers

    def __init__(self, config):
        super(BlipForImageTextRetrieval, self).__init__(config)
        self.vision_model = BlipVisionModel(config.vision_config)
        self.text_encoder = BlipTextModel(config.text_config, add_pooling_layer=False)
        self.vision_proj = nn.Linear(config.vision_config.hidden_size, config.image_text_hidden_size)
        self.text_proj = nn.Linear(config.text_config.hidden_size, config.image_text_hidden_size)
        self.itm_head = nn.Linear(config.text_config.hidden_size, 2)
        self.temp = nn.Parameter(torch.tensor(TEMPERATURE))
        self.match_start = config.text_config.vocab_size - 1  # [ENC]
        self.contrast: Contrast | None = None
        speed_up(self)
        self.post_init()

    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, BlipForRetrieval):
            nn.init.constant_(module.temp, getattr(self.config, "contrast_temperature", TEMPERATURE))

    def save_pretrained(self, *arguments, **settings):
        """The parent's folder: what it does not know, the temperature, stands in config.json."""
        self.config.contrast_temperature = self.temp.item()
        return super().save_pretrained(*arguments, **settings)

    # ------------------------------------------------------------------------------------------------ features

    def picture_features(self, states: Tensor) -> Tensor:
        """`[I,D]`, of length 1: what a picture's class token says. Cosines with `text_features` are ITC's scores."""
        return _features(states[:, 0], self.vision_proj)

    def text_features(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, read: Packed | None = None
    ) -> Tensor:
        """`[T,D]`, of length 1, of texts that begin with [CLS], without a look at any picture.

        `read` says where their tokens stand; without it the mask is read.
        """
        read = sent(Packed.of(_real(input_ids, attention_mask)), input_ids.device) if read is None else read
        return _text_features(self.text_encoder, self.text_proj, input_ids, read)

    def match_logits(
        self,
        states: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        image_index: Tensor | None = None,
        maps: list | None = None,
        read: Packed | None = None,
    ) -> Tensor:
        """Whether text p tells of image `image_index[p]` (None: p), `[P,2]`, index 1 for yes, from `states [I,N,H]`.

        With `image_index [P,F]` it is about a clip: all of these images' tokens one after the other, -1 for none.
        Whatever token stands first, the text begins with [ENC]. `maps` collects each layer's look at the images,
        `[I,heads,tokens,N]`, the tokens of an image's texts side by side. `read` says where tokens stand and what they
        look at; without it mask and index are read.
        """
        real = _real(input_ids, attention_mask)
        ids = input_ids.masked_fill(real & (real.cumsum(1) == 1), self.match_start)
        if read is None:
            index = self._index(image_index, len(states), len(input_ids), states.device)
            read = sent(Packed.of(real, index, len(states), even=maps is None), states.device)
        seen = text_states(self.text_encoder, read.tokens(ids), read.grid, memory_of(states, read), maps=maps)
        return self.itm_head(seen.index_select(0, read.first))

    def _index(self, image_index: Tensor | None, images: int, texts: int, device: torch.device) -> Tensor:
        if image_index is not None:
            return image_index
        if images != texts:
            raise ValueError(f"{texts} texts of {images} images need image_index [Q]")
        return torch.arange(texts, device=device)

    # ------------------------------------------------------------------------------------------------ training

    def start_contrast(
        self, queue: int = 57_600, momentum: float = 0.995, alpha: float = 0.4, seed: int = 0
    ) -> Contrast:
        """Copy the towers as they are now, and begin a queue of `queue` pairs; the defaults are the authors'."""
        towers = ("vision_model", "vision_proj", "text_encoder", "text_proj")
        width = self.config.image_text_hidden_size
        self.contrast = Contrast(
            Momentum({name: getattr(self, name) for name in towers}),
            Queue(queue, width, seed, self.temp.device),
            momentum,
            alpha,
        )
        return self.contrast

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        image_index: Tensor | None = None,
        image_ids: Tensor | None = None,
        text_ids: Tensor | None = None,
        grown: float = 1.0,
        seed: int | None = None,
        states: Tensor | None = None,
        layout: Layout | None = None,
        meanwhile: Callable[[], None] | None = None,
    ) -> RetrievalOutput:
        """Both losses of a batch of pairs, over the batches of all processes.

        In training mode the momentum towers follow first, and the batch enters the queue last. `grown`, from 0 to 1,
        is how far their part of the targets has grown. Exchanged pairs are drawn by `seed`; None takes the most
        probable ones. `states` saves encoding what is encoded already. `layout` is what the collator knows of where
        tokens stand; without it the masks are read. What was drawn decides what is computed, and is read: `meanwhile`,
        and what needs no exchanged pair, is asked of the device before.
        Source: salesforce/BLIP models/blip_retrieval.py, with `negative_all_rank: true`.
        """
        contrast = self.contrast or self.start_contrast()
        real = _real(input_ids, attention_mask)
        if self.training:
            self.temp.data.clamp_(*TEMPERATURES)
            contrast.towers.follow(contrast.momentum)
        states = self.picture_states(pixel_values) if states is None else states
        index = self._index(image_index, len(states), len(input_ids), states.device)
        if layout is None:
            mask, on_cpu = real.cpu(), index.cpu().numpy()
            layout = Layout(sent(Packed.of(mask), states.device), mask=mask.numpy(), image_index=on_cpu)
        image_ids = index if image_ids is None else image_ids
        ids = torch.stack([image_ids, image_ids if text_ids is None else text_ids], dim=1)
        sizes = len(states), len(input_ids), input_ids.shape[1], index[0].numel()
        images, rows, widths, frames = sizes_of_all(*sizes, device=states.device)

        all_ids = gathered(ids, rows)
        images_of, texts_of = torch.cat([all_ids, contrast.queue.ids]).T
        # the texts of batch and queue that are right for each row's picture, and the pictures for its text: [Q,B+K]
        right = belong_together(ids[:, 0], images_of, texts_of), belong_together(ids[:, 1], texts_of, images_of)
        own, excluded = own_rows(rows), [of_query[:, : len(all_ids)] for of_query in reversed(right)]
        mine = Features(
            shown_features(self.vision_proj(states[:, 0]), index), self.text_features(input_ids, read=layout.read)
        )
        if not self.exchanged_by_followers:
            partners = Look(*self._exchanged(mine, mine.of_all(rows), excluded, own, seed))
        slow = self._slow_features(index, pixel_values, input_ids, layout.read)
        everyone = slow.of_all(rows)
        if self.exchanged_by_followers:
            partners = Look(*self._exchanged(mine, everyone, excluded, own, seed))
        with torch.autocast(states.device.type, enabled=False):
            itc = self._contrast(mine, slow, everyone, right, grown * contrast.alpha)
        if self.training:
            contrast.queue.add(everyone.pictures, everyone.texts, all_ids)
        if meanwhile is not None:
            meanwhile()
        width = max(widths)
        texts = [gathered(F.pad(x, (0, width - x.shape[1])), rows) for x in (input_ids, real.long())]
        if len(rows) > 1:  # others' texts and pictures, too
            index = gathered(among_all(index, own_rows(images).start, max(frames)), rows)
            layout = Layout(mask=texts[1].bool().cpu().numpy(), image_index=index.cpu().numpy())
        logits = self._pair_logits(gathered(states, images), layout, texts, own, partners)
        labels = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
        labels[: len(input_ids)] = 1
        itm = F.cross_entropy(logits.float(), labels, reduction="none").view(3, -1).mean(0)
        # A row of which nothing can be exchanged, as in a batch of one picture, would teach that all match.
        itm = itm * ~(excluded[0].all(1) | excluded[1].all(1))
        return RetrievalOutput(
            loss=itc.mean() + itm.mean(),
            loss_per_row=itc + itm,
            loss_itc=itc.mean().detach(),
            loss_itm=itm.mean().detach(),
            itc_per_row=itc.detach(),
            itm_logits=logits.detach(),
        )

    @torch.no_grad()
    def _slow_features(self, index: Tensor, pixel_values: Tensor, input_ids: Tensor, read: Packed) -> Features:
        """Those of the momentum towers."""
        slow = self.contrast.towers.copies
        states = self.encode_pixels(slow["vision_model"], normalized(pixel_values))
        pictures = shown_features(slow["vision_proj"](states[:, 0]), index)
        return Features(pictures, _text_features(slow["text_encoder"], slow["text_proj"], input_ids, read))

    def _contrast(
        self, mine: Features, slow: Features, everyone: Features, right: tuple[Tensor, Tensor], alpha: float
    ) -> Tensor:
        """ITC's loss `[Q]`, both ways: this process's pairs against all of the batch, slow, and the queue."""
        queue = self.contrast.queue
        pictures, texts = torch.cat([everyone.pictures, queue.pictures]).T, torch.cat([everyone.texts, queue.texts]).T
        losses = []
        for own, of_slow, columns, positive in (
            (mine.pictures, slow.pictures, texts, right[0]),
            (mine.texts, slow.texts, pictures, right[1]),
        ):
            targets = soft_targets(of_slow @ columns / self.temp.detach(), positive, alpha)
            losses.append(contrast_losses(own @ columns / self.temp, targets))
        return (losses[0] + losses[1]) / 2

    @torch.no_grad()
    def _exchanged(
        self, mine: Features, everyone: Features, excluded: Sequence[Tensor], own: slice, seed: int | None
    ) -> tuple[Tensor, Tensor]:
        """The pair of all whose image each text gets, and the one whose text each image gets, `[Q]` each."""
        with torch.autocast(self.temp.device.type, enabled=False):  # half precision would blur the similarities
            ways = (mine.texts @ everyone.pictures.T, mine.pictures @ everyone.texts.T)
            return draw_both_ways([way / self.temp for way in ways], excluded, own, seed, self.negative_floor)

    def _pair_logits(self, states: Tensor, layout: Layout, texts: list[Tensor], own: slice, partners: Look) -> Tensor:
        """ITM's logits `[3·Q,2]` of this process's pairs and their exchanged ones, over `states` of all processes."""
        here = torch.arange(own.start, own.stop)
        picture_of, text_of = partners.read()  # on the CPU: the length of what was drawn decides what is computed
        image_rows, text_rows = torch.cat([here, picture_of, here]), torch.cat([here, here, text_of])
        looked_at = torch.from_numpy(layout.image_index)[image_rows]
        used = looked_at[looked_at >= 0].unique()
        place = torch.searchsorted(used, looked_at).masked_fill(looked_at < 0, -1)
        read = Packed.of(torch.from_numpy(layout.mask)[text_rows], place, len(used), even=True)
        used, text_rows, read = (sent(x, states.device) for x in (used, text_rows, read))
        return self.match_logits(states[used], texts[0][text_rows], texts[1][text_rows], read=read)


def _real(input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
    return torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()


def _features(states: Tensor, projection: nn.Module) -> Tensor:
    return F.normalize(projection(states).float(), dim=-1)


def _text_features(encoder: nn.Module, projection: nn.Module, input_ids: Tensor, read: Packed) -> Tensor:
    states = text_states(encoder, read.tokens(input_ids), read.grid)
    return _features(states.index_select(0, read.first), projection)
