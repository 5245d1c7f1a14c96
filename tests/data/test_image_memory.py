"""Decoding stays inside one budget of memory, whatever the header promises and however many threads decode."""

import gc
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from picture_damages import bomb
from picture_files import encoded, png16, tiff
from PIL import Image, ImageFile

from blipvqa.data import images, picture_sources
from blipvqa.data.decoding_memory import MEMORY, MemoryBudget, image_memory, resize_memory
from blipvqa.data.depth import Refused
from blipvqa.data.images import ImageError, open_picture, open_pixels, resize_image

MEASURE = """
import json, resource, sys
from PIL import Image, ImageFile
import numpy as np
from blipvqa.data import images
images.open_pixels(np.arange(9, dtype=np.uint16).reshape(3, 3), 384)
data = open(sys.argv[1], "rb").read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
images.MEMORY.most = 0
images.open_pixels(data, 384)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps([peak * 1024, images.MEMORY.most]))
"""


@pytest.mark.parametrize(("width", "height"), [(10**8, 1), (1, 10**8)])
def test_a_small_file_of_a_hundred_million_pixels_is_refused_by_name(width, height):
    data = bomb(width, height, bits=1) if width > 1 else bomb(width, height, bits=1)[:4000]
    if width > 1:
        assert len(data) < 100_000
    start = time.monotonic()
    with pytest.raises(ImageError, match=r"^row train/7: the image is too large \(decoding takes [\d.,]+ GB"):
        open_pixels(data, 384, "row train/7")
    assert time.monotonic() - start < 2
    assert MEMORY.taken == 0


def test_a_wide_picture_that_ask_could_show_is_not_resized_bare():
    with pytest.raises(ImageError, match="too large"):
        resize_image(Image.new("1", (10**8, 1)), 384)


def test_the_budget_is_shared_by_threads():
    budget, inside, most = MemoryBudget(100), [], []
    lock = threading.Lock()

    def work(amount):
        with budget.take(amount):
            with lock:
                inside.append(amount)
                most.append(sum(inside))
            time.sleep(0.001)
            with lock:
                inside.remove(amount)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, [10, 60, 100, 30, 45, 1] * 10))
    assert 60 < max(most) <= 100
    assert budget.taken == 0
    with pytest.raises(Refused, match="too large"), budget.take(101):
        pass


def test_what_failed_gives_its_memory_back():
    data = encoded(Image.effect_noise((300, 300), 90))
    for _ in range(20):
        with pytest.raises(ImageError):
            open_pixels(data[: len(data) // 2], 32)
    assert MEMORY.taken == 0


def test_many_threads_decode_the_same_pixels(monkeypatch):
    monkeypatch.setattr(images, "MEMORY", MemoryBudget(3_000_000))
    files = [
        encoded(Image.effect_noise((200 + i, 100), 90).convert("RGB"), kind)
        for i in range(6)
        for kind in ("PNG", "JPEG", "WEBP")
    ]
    expected = [open_pixels(data, 32) for data in files]
    with ThreadPoolExecutor(8) as threads:
        for one, other in zip(threads.map(lambda data: open_pixels(data, 32), files * 4), expected * 4, strict=True):
            np.testing.assert_array_equal(one, other)


def test_warnings_are_heard_again_after_threads_decoded():
    import warnings

    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: open_pixels(encoded(Image.effect_noise((50, 50), 90)), 32), range(200)))
    assert warnings.filters == before


def test_half_a_picture_is_refused_whatever_pillow_was_told(monkeypatch):
    data = encoded(Image.effect_noise((60, 60), 90), "JPEG")
    whole = open_pixels(data, 32)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageError):
        open_pixels(data[: len(data) // 2], 32)
    np.testing.assert_array_equal(open_pixels(data, 32), whole)
    assert (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS) == (True, 100)


@pytest.mark.parametrize("shape", [(50, 40), (40, 50), (118, 20), (20, 118), (1, 300), (300, 1), (32, 32), (5, 5)])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_strips_change_no_pixel(monkeypatch, shape, mode):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*shape, 4)).astype(np.uint8))
    data = encoded(image if mode == "RGBA" else image.convert("RGB").convert(mode))
    whole = open_picture(data)
    expected = np.asarray(whole.resize((32, 32), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    monkeypatch.setattr(picture_sources, "STRIP", 130)
    np.testing.assert_array_equal(np.asarray(open_picture(data)), np.asarray(whole))
    np.testing.assert_array_equal(open_pixels(data, 32), expected)


def test_the_size_of_a_webp_is_read_before_its_decoder_is_made(monkeypatch):
    opened = []
    monkeypatch.setattr(Image, "open", lambda *args, **_: opened.append(args))
    for options in ({"lossless": True}, {"quality": 50}, {"quality": 50, "exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}):
        data = encoded(Image.new("RGB", (300, 200)), "WEBP", **options)
        monkeypatch.setattr(picture_sources, "LARGEST", 300 * 200 - 1)
        with pytest.raises(ImageError, match="300 x 200"):
            open_picture(data)
    assert not opened


def test_a_tiff_of_huge_tiles_is_refused():
    data = tiff(np.zeros((16, 16), np.uint16), tile=(16, 16)).replace(
        b"\x42\x01\x04\0\x01\0\0\0\x10\0\0\0", b"\x42\x01\x04\0\x01\0\0\0\0\0\0\x40"
    )
    for picture in (data, data.replace(b"\x02\x01\x03\0\x01\0\0\0\x10\0", b"\x02\x01\x03\0\x01\0\0\0\x08\0")):
        with pytest.raises(ImageError, match="too large"):
            open_picture(picture)


def test_estimates_are_what_pillow_takes():
    assert image_memory("RGB", 1000, 1000) == 4_008_000
    assert image_memory("L", 1, 10) == 10 * (4 + 8)
    assert resize_memory(384, 384, 384) < 5_000_000
    assert resize_memory(10**8, 1, 384) > 384 * 4 * (10**8 // 384) * 8


LARGE = {
    "png": lambda image: encoded(image, compress_level=1),
    "png with alpha": lambda image: encoded(image.convert("RGBA"), compress_level=1),
    "jpeg": lambda image: encoded(image, "JPEG"),
    "jpeg, progressive": lambda image: encoded(image, "JPEG", progressive=True),
    "tiff": lambda image: encoded(image, "TIFF", compression="tiff_lzw"),
    "webp": lambda image: encoded(image.resize((7000, 7000)), "WEBP", method=0, quality=10),
    "bmp": lambda image: encoded(image, "BMP"),
    "gif": lambda image: encoded(image.convert("P"), "GIF"),
    "deep png": lambda image: png16(np.asarray(image, np.uint16)),
    "deep tiff": lambda image: tiff(np.asarray(image, np.uint16), rows=64, compression="deflate"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", LARGE)
def test_large_pictures_take_what_was_reckoned(tmp_path, kind):
    """64 megapixels, each in a process of its own: the peak of memory against what was taken from the budget."""
    image = Image.linear_gradient("L").resize((8000, 8000)).convert("RGB")
    (tmp_path / "file").write_bytes(LARGE[kind](image))
    result = subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path / "file")], capture_output=True, text=True)
    peak, reckoned = json.loads(result.stdout)
    assert peak < 1.05 * reckoned + 50e6
    assert reckoned < 1.5e9


@pytest.mark.slow
def test_many_large_pictures_at_once_stay_inside_the_budget(tmp_path):
    """Twelve pictures of 95 megapixels, eight threads: without a budget they would take 3.6 GB and more."""
    data = encoded(Image.linear_gradient("L").resize((9500, 10_000)).convert("RGB"), "JPEG")
    (tmp_path / "file").write_bytes(data)
    program = MEASURE.replace(
        "images.open_pixels(data, 384)\npeak",
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(8) as threads:\n    list(threads.map(lambda _: images.open_pixels(data, 384), range(12)))\npeak",
    )
    result = subprocess.run([sys.executable, "-c", program, str(tmp_path / "file")], capture_output=True, text=True)
    peak, taken = json.loads(result.stdout)
    assert taken <= MEMORY.total
    assert peak < 1.05 * MEMORY.total


def test_an_error_that_is_kept_keeps_no_picture():
    data = encoded(Image.effect_noise((2000, 2000), 90).convert("RGB"), "PNG")[:-2_000_000]
    errors = []
    for _ in range(10):
        try:
            open_pixels(data, 32)
        except ImageError as error:
            errors.append(error)
    images_alive = [
        each for each in gc.get_objects() if issubclass(type(each), Image.Image) and each.size == (2000, 2000)
    ]
    assert len(errors) == 10
    assert not images_alive
    assert all(error.__context__ is None for error in errors)
