"""How a scene of the embedded data is drawn: tissue, nuclei, and objects with the box of what was really drawn.

Notable:
- An object is drawn on a transparent tile of its own, one tile a quadrant. So objects cannot overlap, and an
  object's box is the box of what was really drawn.
- Large objects, saturated colours and a texture for each kind: a small vision transformer must learn them
  from scratch within minutes, from a few hundred pictures.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from blipvqa.data.synthetic_questions import PLACES, Box, Scene

OVERSAMPLE = 3  # drawn so many times larger, then averaged down: Pillow draws no soft edges
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Palette:
    """How a stain colours what is no object of its own."""

    pale: Colour
    deep: Colour
    nucleus: Colour
    wall: Colour


PALETTES = {
    "hematoxylin and eosin": Palette((250, 218, 230), (232, 168, 198), (98, 58, 142), (198, 112, 160)),
    "periodic acid schiff": Palette((236, 144, 202), (198, 62, 144), (64, 52, 120), (150, 34, 104)),
    "masson trichrome": Palette((178, 214, 232), (92, 150, 202), (110, 42, 66), (44, 92, 150)),
    "silver": Palette((232, 222, 190), (176, 160, 118), (58, 52, 44), (112, 98, 66)),
}
PIGMENT = {"brown": (146, 84, 18), "black": (22, 18, 22)}
BLOOD: tuple[Colour, Colour] = ((176, 12, 22), (226, 56, 48))
CALCIUM: tuple[Colour, Colour] = ((52, 26, 128), (32, 12, 84))
CRACK: Colour = (206, 196, 238)
LUMEN: Colour = (252, 246, 250)
WHITE: Colour = (255, 255, 255)


def draw_scene(scene: Scene, size: int, rng: np.random.Generator) -> tuple[Pillow.Image, dict[str, Box]]:
    """Draw a scene: RGB, size x size pixels. Also give the box of the object at each occupied place."""
    side = size * OVERSAMPLE
    palette = _varied(PALETTES[scene.stain], rng)
    canvas = _stroma(size, palette, rng).resize((side, side), Pillow.Resampling.BILINEAR)
    _scatter_nuclei(ImageDraw.Draw(canvas), side, scene.crowded, palette, rng)
    boxes = {}
    for place, kind in scene.objects.items():
        tile = _draw_object(kind, side // 2, palette, scene.pigment, rng)
        left, top = _corner(place, side)
        canvas.paste(tile, (left, top), tile)
        x0, y0, x1, y1 = tile.getchannel("A").getbbox()
        pixels = (left + x0, top + y0, left + x1, top + y1)
        boxes[place] = tuple(round(pixel / side, 4) for pixel in pixels)
    return _with_grain(canvas, size, rng), boxes


def draw_slices(scene: Scene, sizes: dict[str, list[float]], size: int, rng: np.random.Generator) -> list[Pillow.Image]:
    """Slices through one tissue, RGB, size x size pixels: at each occupied place its object, in slice k so large as
    `sizes[place][k]` says, of its full size; 0 where it is not seen."""
    side = size * OVERSAMPLE
    palette = _varied(PALETTES[scene.stain], rng)
    tissue = _stroma(size, palette, rng).resize((side, side), Pillow.Resampling.BILINEAR)
    seeds = {place: int(rng.integers(2**32)) for place in scene.objects}
    slices = []
    for number in range(len(next(iter(sizes.values())))):
        canvas = tissue.copy()
        _scatter_nuclei(ImageDraw.Draw(canvas), side, scene.crowded, palette, rng)
        for place, kind in scene.objects.items():
            if share := sizes[place][number]:
                own = np.random.default_rng(seeds[place])  # the same shape at the same spot in every slice
                tile = _draw_object(kind, side // 2, palette, scene.pigment, own, share)
                canvas.paste(tile, _corner(place, side), tile)
        slices.append(_with_grain(canvas, size, rng))
    return slices


def _with_grain(canvas: Pillow.Image, size: int, rng: np.random.Generator) -> Pillow.Image:
    grain = rng.normal(0, 2.5, (size, size, 1))  # one value for the three channels, as a camera's noise looks
    pixels = np.asarray(canvas.reduce(OVERSAMPLE), dtype=float) + grain
    return Pillow.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _corner(place: str, side: int) -> tuple[int, int]:
    """Upper left corner of a quadrant, in pixels."""
    row, column = divmod(PLACES.index(place), 2)
    return column * (side // 2), row * (side // 2)


def _varied(palette: Palette, rng: np.random.Generator) -> Palette:
    """No two laboratories stain alike: shift and darken all colours of a picture together."""
    cast, light = rng.normal(0, 5, 3), rng.uniform(0.93, 1.05)
    shifted = {name: (np.array(colour) * light + cast).clip(0, 255) for name, colour in vars(palette).items()}
    return Palette(**{name: tuple(int(value) for value in colour) for name, colour in shifted.items()})


def _stroma(size: int, palette: Palette, rng: np.random.Generator) -> Pillow.Image:
    """The tissue between the objects: fibres that run in one direction and wave."""
    down, across = np.mgrid[0:size, 0:size] / size
    angle = rng.uniform(0, np.pi)
    fibres = 9 * (across * np.cos(angle) + down * np.sin(angle)) + 1.6 * _cloud(size, 4, rng)
    spots = 0.30 * _cloud(size, 6, rng) + 0.12 * _cloud(size, 40, rng)
    depth = (0.45 + 0.22 * np.sin(2 * np.pi * fibres) + spots).clip(0, 1)[..., None]  # [size, size, 1]
    pixels = (1 - depth) * np.array(palette.pale) + depth * np.array(palette.deep)
    return Pillow.fromarray(pixels.astype(np.uint8))


def _cloud(size: int, cells: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise `[size, size]` about zero, mostly within one, with features of size / cells pixels."""
    coarse = Pillow.fromarray(rng.normal(0, 0.5, (cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((size, size), Pillow.Resampling.BICUBIC))


def _scatter_nuclei(draw: ImageDraw.ImageDraw, side: int, crowded: bool, palette: Palette, rng) -> None:
    """Spread nuclei over the whole picture, on a jittered grid so that crowded ones do not pile up."""
    cells = int(rng.integers(11, 14) if crowded else rng.integers(4, 6))
    number = cells**2
    corners = np.stack(np.divmod(np.arange(number), cells), axis=-1)
    centres = (corners + rng.uniform(0.15, 0.85, (number, 2))) * side / cells
    radii, squash = side * rng.uniform(0.017, 0.025, number), rng.uniform(0.5, 1.0, number)
    for outline in _blob(centres, radii, rng, squash, corners=9):
        _fill(draw, outline, palette.nucleus)


def _draw_object(kind: str, side: int, palette: Palette, pigment: str, rng, share: float = 1.0) -> Pillow.Image:
    """One object somewhere on a transparent tile `[side, side]`, well over half the tile wide; `share` makes it
    smaller."""
    tile = Pillow.new("RGBA", (side, side))
    draw = ImageDraw.Draw(tile)
    radius = side * rng.uniform(0.32, 0.40)
    margin = 1.15 * radius  # nothing below reaches further from its centre
    centre = rng.uniform(margin, side - margin, 2)
    radius *= share
    if kind == "gland":
        _gland(draw, centre, radius, palette, rng)
    elif kind == "vessel":
        _vessel(draw, centre, radius, palette, rng)
    elif kind == "calcification":
        _calcification(draw, centre, radius, rng)
    elif kind == "pigment":
        _pigment(draw, centre, radius, PIGMENT[pigment], rng)
    else:
        _fat(draw, centre, radius, palette, rng)
    return tile


def _gland(draw, centre, radius: float, palette: Palette, rng) -> None:
    """A ring of nuclei round a pale lumen."""
    squash, turn = rng.uniform(0.8, 1.0), rng.uniform(0, np.pi)
    _fill(draw, _blob(centre, radius, rng, squash, turn, wobble=0.03), palette.wall)
    _fill(draw, _blob(centre, 0.46 * radius, rng, squash, turn, wobble=0.08), LUMEN)
    ring = _blob(centre, 0.76 * radius, rng, squash, turn, wobble=0.0, corners=int(rng.integers(11, 14)))
    for outline in _blob(ring, 0.16 * radius, rng, squash=0.8, corners=12):
        _fill(draw, outline, palette.nucleus)


def _vessel(draw, centre, radius: float, palette: Palette, rng) -> None:
    """A wall filled with red cells."""
    squash, turn = rng.uniform(0.65, 0.95), rng.uniform(0, np.pi)
    for reach, colour in ((1.0, palette.wall), (0.86, palette.pale), (0.78, BLOOD[0])):
        _fill(draw, _blob(centre, reach * radius, rng, squash, turn, wobble=0.02), colour)
    for cell in _inside(centre, 0.62 * radius, rng, number=22, squash=squash, turn=turn):
        _disc(draw, cell, 0.10 * radius, fill=BLOOD[1])


def _calcification(draw, centre, radius: float, rng) -> None:
    """A dark solid lump in layers, broken by pale cracks."""
    squash, turn = rng.uniform(0.75, 1.0), rng.uniform(0, np.pi)
    for reach, colour in ((1.0, CALCIUM[0]), (0.78, CALCIUM[1]), (0.66, CALCIUM[0]), (0.42, CALCIUM[1])):
        _fill(draw, _blob(centre, reach * radius, rng, squash, turn, wobble=0.09, corners=16), colour)
    for angle in rng.uniform(0, np.pi) + np.array([0.0, 1.3, 2.4, 3.6, 4.9]) + rng.uniform(-0.3, 0.3, 5):
        start, end = rng.uniform(0.05, 0.35), rng.uniform(0.55, 0.72)
        bent = angle + rng.uniform(-0.5, 0.5, 3)
        path = centre + radius * _circle(bent, np.array([start, (start + end) / 2, end]))
        draw.line(path.ravel().tolist(), fill=CRACK, width=max(1, round(0.06 * radius)))


def _pigment(draw, centre, radius: float, colour: Colour, rng) -> None:
    """A cluster of granules of one colour, in slightly different shades."""
    for granule in _inside(centre, 0.85 * radius, rng, number=46):
        shade = np.array(colour) * rng.uniform(0.85, 1.15)
        _disc(draw, granule, radius * rng.uniform(0.08, 0.15), fill=tuple(shade.astype(int).tolist()))


def _fat(draw, centre, radius: float, palette: Palette, rng) -> None:
    """Empty round vacuoles, one in the middle and six round it."""
    angles = rng.uniform(0, np.pi) + np.arange(6) * np.pi / 3 + rng.uniform(-0.12, 0.12, 6)
    around = centre + radius * _circle(angles, rng.uniform(0.60, 0.72, 6))
    for vacuole in [centre, *around]:
        line = max(1, round(0.05 * radius))
        _disc(draw, vacuole, radius * rng.uniform(0.28, 0.38), fill=WHITE, outline=palette.wall, width=line)


def _fill(draw, outline: np.ndarray, colour: Colour) -> None:
    draw.polygon(outline.ravel().tolist(), fill=colour)


def _disc(draw, centre: np.ndarray, radius: float, **style) -> None:
    draw.ellipse([*(centre - radius).tolist(), *(centre + radius).tolist()], **style)


def _blob(centre, radius, rng, squash=1.0, turn=None, wobble=0.06, corners=40) -> np.ndarray:
    """Outlines `[..., corners, 2]` of irregular ellipses that reach at most radius * (1 + 1.5 * wobble).

    centre is `[..., 2]`; radius, squash (width over length) and turn (radians; random if None) are `[...]`,
    or one for all.
    """
    several = np.shape(centre)[:-1]
    turn = rng.uniform(0, np.pi, several) if turn is None else turn
    angles = np.arange(corners) * 2 * np.pi / corners
    first, second = rng.uniform(0, 2 * np.pi, (2, *several, 1))
    uneven = 1 + wobble * np.sin(2 * angles + first) + wobble / 2 * np.sin(5 * angles + second)
    return _ellipse(centre, _circle(angles, uneven * np.asarray(radius)[..., None]), squash, turn)


def _inside(centre, radius: float, rng, number: int, squash=1.0, turn=0.0) -> np.ndarray:
    """Points `[number, 2]` spread over an ellipse."""
    angles, reach = rng.uniform(0, 2 * np.pi, number), radius * np.sqrt(rng.uniform(0, 1, number))
    return _ellipse(centre, _circle(angles, reach), squash, turn)


def _circle(angles: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Points `[..., 2]` at angles (radians) and distances from the origin."""
    return np.stack([reach * np.cos(angles), reach * np.sin(angles)], axis=-1)


def _ellipse(centre, points: np.ndarray, squash, turn) -> np.ndarray:
    """Squash points `[..., n, 2]`, turn them by an angle (radians) and move them to a centre `[..., 2]`."""
    along, across = points[..., 0], points[..., 1] * np.asarray(squash)[..., None]
    cos, sin = np.cos(turn)[..., None], np.sin(turn)[..., None]
    turned = np.stack([along * cos - across * sin, along * sin + across * cos], axis=-1)
    return np.asarray(centre)[..., None, :] + turned
