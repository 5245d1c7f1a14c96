"""DICOM files whose frames pydicom does not unpack by itself: pydicom's own test files. They were looked at."""

import io
import subprocess
import sys

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from test_medical_files import dicom, grey

from blipvqa.data.images import ImageError, open_picture


def test_packed_values_are_those_of_the_plain_file():
    """JPEG-LS without loss, of signed values of 16 bits; with loss, within pydicom's own tolerance; JPEG of 12 bits."""
    np.testing.assert_array_equal(grey(dicom("MR_small_jpeg_ls_lossless.dcm")), grey(dicom("MR_small.dcm")))
    window = (256.0, 512.0)  # of 12 bits: two ways to unpack one scan
    packed, plain = (grey(dicom(name), window=window) for name in ("JPGExtended.dcm", "JPEG2000.dcm"))
    assert packed.shape == (1024, 256) and np.corrcoef(packed.ravel(), plain.ravel())[0, 1] > 0.9
    near = grey(dicom("JPEGLSNearLossless_16.dcm"))
    assert near.shape == (50, 10) and (near.min(), near.max()) == (0, 255)
    assert grey(dicom("JPEGLSNearLossless_08.dcm")).shape == (45, 10)


@pytest.mark.parametrize("name", ["MR_small_jpeg_ls_lossless.dcm", "JPGExtended.dcm", "SC_rgb_jpeg_gdcm.dcm"])
def test_a_frame_that_claims_another_size_than_its_file_is_refused_before_it_is_unpacked(name):
    file = dcmread(get_testdata_file(name, download=False))
    packed = bytearray(file.PixelData)
    start = max(packed.find(bytes([0xFF, marker])) for marker in (0xF7, 0xC1, 0xC3))
    packed[start + 5 : start + 9] = b"\xff\xff\xff\xff"  # 65,535 rows and columns
    file.PixelData = bytes(packed)
    written = io.BytesIO()
    file.save_as(written)
    with pytest.raises(ImageError, match="does not decode"):
        open_picture(written.getvalue(), "x")


def test_threads_that_come_first_at_once_each_get_their_picture():
    """Before, "damaged, or packed in a way that pydicom cannot read" was said by chance of the first file of a folder."""
    code = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from blipvqa.data.dicom_codecs import add_codecs
sys.setswitchinterval(1e-6)
start = threading.Barrier(8)
with ThreadPoolExecutor(8) as pool:
    list(pool.map(lambda _: (start.wait(), add_codecs()), range(8)))
"""
    for _ in range(3):
        subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
