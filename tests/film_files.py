"""Films that tests write: a video, a DICOM file of frames, a TIFF of pages, each frame of one grey."""

import numpy as np
import pytest
from PIL import Image

COUNT = 12
GREYS = [20 * number for number in range(COUNT)]  # of each frame


def video(path, greys=GREYS):
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()  # else nothing is written where there is no frame
        for grey in greys:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), grey, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def sound(path):
    """A film without a picture."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def tiff(path, greys=GREYS):
    pages = [Image.new("L", (64, 48), grey) for grey in greys]
    pages[0].save(path, "TIFF", save_all=True, append_images=pages[1:])


def dicom(path, greys=GREYS):
    pydicom = pytest.importorskip("pydicom")
    file = pydicom.Dataset()
    file.file_meta = pydicom.dataset.FileMetaDataset()
    file.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7.2"
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = "1.2.3"
    file.Rows, file.Columns, file.NumberOfFrames, file.SamplesPerPixel = 48, 64, len(greys), 1
    file.PhotometricInterpretation, file.PixelRepresentation = "MONOCHROME2", 0
    file.BitsAllocated = file.BitsStored = 8
    file.HighBit = 7
    file.PixelData = b"".join(bytes([grey]) * (48 * 64) for grey in greys)
    file.save_as(path, enforce_file_format=True)
