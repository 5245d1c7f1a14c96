"""Pictures of all modes in all containers, whole and damaged, drawn from a seed; and what loading them led to.

As a program (`python picture_damages.py FOLDER COUNT SEED`) it draws the pictures, loads them in both modes of
`data.on_error`, and prints as JSON what happened: in a process of its own, whose memory can be measured.
"""

import functools
import json
import os
import random
import resource
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
from picture_files import chunk, encoded, png16, tiff
from PIL import Image

MODES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK", "YCbCr"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "I;16", "I;16B", "F"),
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
    "GIF": ("1", "L", "P", "RGB"),
    "WEBP": ("L", "RGB", "RGBA"),
}
DEEP = ("png16", "tiff16", "tiff signed", "tiff fractions", "tiff tiles", "tiff planes")
FOREIGN = ("EPS", "PPM", "ICO", "JPEG2000", "PCX", "TGA", "PDF", "SGI")
STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "socket.connect")


def drawn(draw: random.Random) -> tuple[str, bytes]:
    """A whole picture: its kind, and its file."""
    width, height = draw.choice([1, 2, 7, 40, 130]), draw.choice([1, 3, 31, 64])
    noise = np.random.default_rng(draw.getrandbits(32))
    if draw.random() < 0.4:
        kind = draw.choice(DEEP)
        values = noise.integers(0, 2 ** draw.choice([8, 12, 16]), (height, width, draw.choice([1, 2, 3, 4])))
        if kind == "png16":
            return kind, png16(values.astype(np.uint16))
        layout = {"order": draw.choice("<>"), "compression": draw.choice([None, "deflate", "tiff_lzw", "packbits"])}
        layout["planar"] = kind == "tiff planes"
        layout |= {"tile": (16, 32)} if kind == "tiff tiles" else {"rows": draw.choice([1, 5, None])}
        types = {"tiff signed": ("i1", "i2", "i4"), "tiff fractions": ("f4", "f8")}.get(kind, ("u2", "u4"))
        return kind, tiff((values - values.min() // 2).astype(draw.choice(types)), **layout)
    container = draw.choice(list(MODES))
    mode = draw.choice(MODES[container])
    image = Image.fromarray(noise.integers(0, 256, (height, width, 4)).astype(np.uint8))
    if mode.startswith("I;16"):
        image = Image.frombytes(mode, image.size, noise.integers(0, 4096, (height, width)).astype("<u2").tobytes())
    elif mode not in ("RGBA", "LA"):
        image = image.convert("RGB").convert("L" if mode in ("I", "F") else "RGB").convert(mode)
    else:
        image = image.convert(mode)
    exif = Image.Exif()
    exif[274] = draw.randrange(1, 9) if container == "TIFF" else draw.randrange(10)
    options = {} if container in ("BMP", "GIF") else {"exif": exif.tobytes()}
    if container == "TIFF" and mode != "LAB":
        options["compression"] = draw.choice(["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
    return f"{container} {mode}", encoded(image, container, **options)


def resized_header(data: bytes, draw: random.Random) -> bytes:
    """Another width and height in the header, and a check sum that holds."""
    size = [draw.choice([0, 1, 3, 5000, 60_000, 2**31 - 1, 2**32 - 1]) for _ in range(2)]
    if data[:4] == b"\x89PNG":
        header = struct.pack(">II", *size) + data[24:29]
        return data[:8] + chunk(b"IHDR", header) + data[33:]
    places = {b"BM": (18, "<ii"), b"GI": (6, "<HH"), b"RI": (24, "<HH")}
    place, form = places.get(data[:2], (draw.randrange(max(1, len(data) - 8)), "<HH"))
    new = struct.pack(form, *(value % 32768 for value in size))
    return data[:place] + new + data[place + len(new) :]


@functools.lru_cache
def bomb(width: int, height: int, bits=8, colour=0) -> bytes:
    """A small PNG of many black pixels, all of them there."""
    row = 1 + -(-width * bits * {0: 1, 2: 3, 4: 2, 6: 4}[colour] // 8)
    packer, parts, left = zlib.compressobj(1), [], row * height
    while left:
        step = min(left, 1 << 20)
        parts.append(packer.compress(bytes(step)))
        left -= step
    parts.append(packer.flush())
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"".join(parts)) + chunk(b"IEND", b"")


def flipped(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice([1, 3, 30])):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def overwritten(data: bytes, draw: random.Random) -> bytes:
    start, length = draw.randrange(len(data)), draw.choice([1, 4, 50])
    return (data[:start] + draw.randbytes(length) + data[start + length :])[: max(len(data), 1)]


def foreign(_: bytes, draw: random.Random) -> bytes:
    kind = draw.choice(FOREIGN)
    return encoded(Image.new("RGBA" if kind == "ICO" else "RGB", (32, 32), "red"), kind)


def several(_: bytes, draw: random.Random) -> bytes:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    return encoded(frames[0], draw.choice(["GIF", "PNG", "TIFF", "WEBP"]), save_all=True, append_images=frames[1:])


def exploding(_: bytes, draw: random.Random) -> bytes:
    shapes = [(10**8, 1, 1, 0), (1, 10**8, 1, 0), (10**7, 9, 8, 2), (9, 10**7, 1, 0), (40_000, 40_000, 1, 0)]
    return bomb(*draw.choice(shapes))


DAMAGES = {
    "none": lambda data, draw: data,
    "cut": lambda data, draw: data[: draw.randrange(len(data))],
    "flipped": flipped,
    "overwritten": overwritten,
    "another size": resized_header,
    "zeroed": lambda data, draw: data[: len(data) // 3] + bytes(len(data) // 3) + data[2 * (len(data) // 3) :],
    "doubled": lambda data, draw: data + data,
    "turned round": lambda data, draw: data[::-1],
    "head only": lambda data, draw: data[: draw.choice([1, 4, 8, 12, 30])],
    "foreign": foreign,
    "several pictures": several,
    "exploding": exploding,
}


def pictures(count: int, seed: int) -> list[tuple[str, bytes]]:
    """(what was done, file) of so many pictures; each damage is there."""
    draw, names = random.Random(seed), list(DAMAGES)
    result = []
    for i in range(count):
        damage = "none" if i % 3 == 0 else names[1 + i % (len(names) - 1)]
        kind, data = drawn(draw)
        result.append((f"{damage}: {kind}", DAMAGES[damage](data, draw)))
    return result


def main(folder: Path, count: int, seed: int) -> dict:
    os.environ["BLIPVQA_ROOT"] = str(folder)
    import blipvqa.data.images as images
    from blipvqa import load_config
    from blipvqa.data.dataset import load_splits

    started = []
    sys.addaudithook(lambda event, args: started.append(event) if event in STARTS else None)
    source = folder / "drawn"
    source.mkdir()
    drawn_pictures = pictures(count, seed)
    for i, (_, data) in enumerate(drawn_pictures):
        (source / f"{i}.png").write_bytes(data)  # the ending is wrong for most: it must not count
    Image.effect_noise((40, 40), 80).save(source / "good.png")

    def load(rows, on_error, cache):
        lines = [json.dumps({"image": f"{i}.png", "question": "is it red?", "answer": "yes"}) for i in rows]
        (source / "train.jsonl").write_text("\n".join(lines))
        (source / "validation.jsonl").write_text(
            json.dumps({"image": "good.png", "question": "is it?", "answer": "no"})
        )
        data = {"source": "drawn", "on_error": on_error, "cache_dir": cache}
        return load_splits(load_config(None, {"data": data, "model.image_size": 32, "model.name": "scratch"}, "drawn"))

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    skipped = load(["good", *range(count)], "skip", "cache")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    # row 0 is the good picture, and row i + 1 drawn picture i
    loaded = {int(row["id"].removeprefix("train/")) - 1 for row in skipped["train"].rows} - {-1}
    outcomes = {}
    for i in range(count):
        try:
            load([i], "raise", "cache-raise")
            outcomes[i] = ""
        except Exception as error:  # what kind it is, is what the test asks
            outcomes[i] = f"{type(error).__name__}: {error}"
    return {
        "kinds": [kind for kind, _ in drawn_pictures],
        "loaded": sorted(loaded),
        "outcomes": [outcomes[i] for i in range(count)],
        "notes": skipped.notes,
        "started": started,
        "peak": peak * 1024,
        "budget": images.MEMORY.total,
        "taken": images.MEMORY.taken,
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
