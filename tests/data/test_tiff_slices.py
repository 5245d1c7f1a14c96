"""Files that hold several pictures otherwise than as pages: slices of a TIFF under one header, animations."""

import io
import json

import numpy as np
import pytest
import tifffile
from conftest import TINY
from PIL import Image, TiffImagePlugin, TiffTags

from blipvqa import load_config, load_splits
from blipvqa.data.frames import frames
from blipvqa.data.images import ImageError


def loaded(folder, name, count=4):
    """The test split of the source `mine`, each of whose splits has one row, with this picture."""
    for split in ("train", "validation", "test"):
        row = {"image": name, "question": "does it grow?", "answer": "yes"}
        (folder / f"{split}.jsonl").write_text(json.dumps(row) + "\n")
    return load_splits(load_config(None, TINY | {"data.source": "mine", "data.frames": count}, "slices"))["test"]


IMAGEJ = "ImageJ=1.54f\nimages=12\nslices=12\n"


@pytest.mark.parametrize("kind", ["imagej", "tifffile", "metamorph", "volumetric"])
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("count", [4, None])
def test_slices_under_one_header_are_refused_by_row(folder, kind, deep, count):
    """Of such a stack the first slice was learnt as if it were all, with `data.frames`, too."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    stack = np.arange(12 * 48 * 64).reshape(12, 48, 64).astype(np.uint16 if deep else np.uint8)
    if kind == "volumetric":
        tags[32997] = 12
    elif kind == "metamorph":
        tags.tagtype[33629], tags[33629] = TiffTags.RATIONAL, (1.0,) * 12
    else:
        tags[270] = IMAGEJ if kind == "imagej" else json.dumps({"shape": stack.shape, "truncated": True})
    content = io.BytesIO()
    Image.fromarray(stack[0]).save(content, "TIFF", tiffinfo=tags)
    assert content.getvalue().endswith(stack[0].tobytes())
    (folder / "stack.tif").write_bytes(content.getvalue() + stack[1:].tobytes())
    said = "the TIFF holds 12 slices under one header, .* save each as a page"
    with pytest.raises(ImageError, match=f"train/0: line 1 of train.jsonl: {said}"):
        loaded(folder, "stack.tif", count)
    with pytest.raises(ImageError, match=said):
        frames(folder / "stack.tif", 4)
    if kind != "volumetric":  # one slice that was saved with the description of its stack
        (folder / "stack.tif").write_bytes(content.getvalue())
        assert loaded(folder, "stack.tif", count).image(0).size == (64, 48)


def test_tifffile_s_stacks_are_told_apart(folder):
    stack = np.arange(12 * 48 * 64, dtype=np.uint16).reshape(12, 48, 64)
    for settings in ({}, {"imagej": True}, {"ome": True}, {"compression": "zlib"}):
        tifffile.imwrite(folder / "stack.tif", stack, **settings)
        assert len(loaded(folder, "stack.tif").images(0)) == 4, settings
    for settings in ({"truncate": True}, {"imagej": True, "truncate": True}, {"volumetric": True, "tile": (4, 16, 16)}):
        tifffile.imwrite(folder / "stack.tif", stack, **settings)
        with pytest.raises(ImageError, match="12 slices under one header"):
            loaded(folder, "stack.tif")
    for settings in ({}, {"imagej": True}, {"planarconfig": "separate"}):  # one picture in colour
        colours = stack[:3] if "planarconfig" in settings else np.moveaxis(stack[:3], 0, -1)
        colours = colours.astype(np.uint8)
        tifffile.imwrite(folder / "stack.tif", colours, photometric="rgb", **settings)
        assert loaded(folder, "stack.tif").image(0).size == (64, 48)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_an_animation_is_refused_with_what_to_save_it_as(folder, form):
    pictures = [Image.new("RGB", (64, 48), (20 * k, 0, 0)) for k in range(6)]
    pictures[0].save(folder / "film", form, save_all=True, append_images=pictures[1:])
    with pytest.raises(ImageError, match=r"train/0: .*\(an animation\): .* save it as a video or as pages of a TIFF"):
        loaded(folder, "film")
