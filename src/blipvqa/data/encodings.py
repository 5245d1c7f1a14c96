"""Which encoding a table's text is in.

UTF-8, or UTF-16 or -32 where its mark stands at the front. A csv or tsv file that is neither is cp1252, in which Excel
saves on Western systems; one in which some letters are UTF-8 and others are not is a damaged file, and nothing is
guessed.
"""

from __future__ import annotations

import codecs

from blipvqa.data.split_names import SourceError, TableFile, ending_of

BLOCK = 1_000_000  # bytes
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",  # first: it begins as UTF-16's does
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
UNDEFINED = bytes([0x81, 0x8D, 0x8F, 0x90, 0x9D])  # that no cp1252 text has


def encoding_of(path: TableFile) -> str:
    """The name that Python has for the encoding. Raises SourceError for a csv file in none of them."""
    with path.open("rb") as file:
        start = file.read(4)
    for mark, encoding in MARKS.items():
        if start.startswith(mark):
            return encoding
    if b"\0" in start:
        raise SourceError(f"{path.name} is UTF-16 without its mark, or no text: save it as UTF-8")
    return _of_unmarked(path) if ending_of(path) in ("csv", "tsv") else "utf-8"


def _of_unmarked(path: TableFile) -> str:
    decoder, letters, undefined, line = codecs.getincrementaldecoder("utf-8")(), False, False, 0
    broken = None
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            if broken is None:
                try:
                    letters = letters or not decoder.decode(block).isascii()
                except UnicodeDecodeError as error:
                    letters = letters or not error.object[: error.start].decode().isascii()
                    broken = line + block[: error.start].count(b"\n") + 1
            undefined = undefined or bool(set(block) & set(UNDEFINED))
            line += block.count(b"\n")
    if broken is None:
        return "utf-8"
    if letters or undefined:
        raise SourceError(f"{path.name} is not UTF-8 from line {broken} on, and not cp1252: save it as UTF-8")
    return "cp1252"
