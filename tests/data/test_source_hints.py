"""Folders as people have them and nobody reads: the error says what to do next, by what lies there."""

import pytest
from PIL import Image
from small_sources import splits_of

from blipvqa.data.formats import SourceError

SHAPES = {  # files of a folder, and what leads on
    "ROCOv2": (
        ["train_captions.csv", "valid_captions.csv"],
        "'train_captions.csv' looks like the split train: name it train.csv",
    ),
    "ROCO's split": (["traindata.csv"], "'traindata.csv' looks like the split train: name it train.csv"),
    "a doctor's sheet": (["Befunde.xlsx", "Bilder/1.png"], "If 'Befunde.xlsx' holds the rows, name it train.xlsx"),
    "one folder too high": (["Slake1.0/train.json", "Slake1.0/test.json"], "set data.source=mine/Slake1.0"),
    "ROCO": (["train/radiology/traindata.csv"], "Put tables such as train/radiology/traindata.csv into 'mine'"),
    "pictures alone": (["benign/1.png", "malignant/1.png"], "write a table of them, 'mine/train.csv'"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_folder_that_is_not_read_leads_on(root, shape):
    names, says = SHAPES[shape]
    for name in names:
        (root / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "mine" / name).write_bytes(b"")
    with pytest.raises(SourceError) as error:
        splits_of()
    assert says in str(error.value)


@pytest.mark.parametrize("name", ["ID_7", "ID_7.png", "pictures/ID_7.jpg"])
def test_a_missing_picture_that_lies_elsewhere_is_pointed_at(root, name):
    place = root / "mine" / "train_images"
    place.mkdir(parents=True)
    Image.new("RGB", (20, 20)).save(place / "ID_7.JPG")
    (root / "mine" / "train.csv").write_text(f"image,question,answer\n{name},what?,x\n")
    with pytest.raises(ValueError, match=r"but 'train_images/ID_7.JPG' is there: see data.image_root and"):
        splits_of()
