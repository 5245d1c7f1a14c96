"""Pages as Chromium shows and prints them: a heading stands with what it is of, and what is left out is said.

It needs the extra `browser`, a Chromium and `pdftotext` (poppler); it is skipped without.
"""

import shutil
import subprocess

import pytest

from blipvqa.pages.html import Html
from blipvqa.pages.page import remark, search_gallery, search_rows, section, write_page
from blipvqa.pages.tables import table

sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("pdftotext"), reason="pdftotext is not there"),
]
BUTTONS = ("wrong", "right")
LOWER = """() => {  // the section again and again, each time a little lower on a page of its own
  const main = document.querySelector('main'), section = main.innerHTML;
  main.innerHTML = '';
  for (let height = 780; height < 1000; height += 8)
    main.insertAdjacentHTML('beforeend', `<div style="break-before:page;height:${height}px"></div>${section}`);
}"""


def printed(page: str, folder, change: str | None = None) -> list[str]:
    """The text of each sheet of A4."""
    (folder / "page.html").write_text(page, encoding="utf-8")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        shown = browser.new_context(bypass_csp=True).new_page()
        shown.goto((folder / "page.html").as_uri())
        if change:
            shown.evaluate(change)
        shown.pdf(path=str(folder / "page.pdf"), format="A4")
        browser.close()
    text = subprocess.run(
        ["pdftotext", "-layout", folder / "page.pdf", "-"], capture_output=True, text=True, check=True
    )
    return text.stdout.split("\f")


def rows_to_search(count: int):
    rows = [(("first row", "is there a gland?", "no"), False, None)] * count
    return search_rows(["id", "question", "actual"], rows, "search", BUTTONS, "every answer")


@pytest.mark.parametrize("parts", [(remark("Wrong first."), rows_to_search(30)), (table(["a"], [["first row"]] * 9),)])
def test_no_heading_ends_a_sheet(parts, tmp_path):
    """Before, "Every answer" and the head of its table could stand at the foot of a sheet without a row."""
    sheets = printed(write_page("t", [section("the heading", *parts)]), tmp_path, LOWER)
    with_heading = [sheet for sheet in sheets if "the heading" in sheet]
    assert len(with_heading) == 28 and all("first row" in sheet for sheet in with_heading)


def test_paper_says_that_it_has_not_all_rows(tmp_path):
    """Before, "Every answer" ended on paper with its 200th row, and nothing said that there were more."""
    for count, said in ((201, True), (200, False)):
        text = "\n".join(printed(write_page("t", [section("Every answer", rows_to_search(count))]), tmp_path))
        assert ("200 of 201 rows are shown." in text) == said and "show more" not in text
        assert text.count("first row") == 200


def test_a_gallery_counts_what_it_shows_and_gives_it_no_unit_of_its_own(tmp_path):
    """Before, 300 statements about 40 pairs were "300 of 300 pictures"."""
    cards = [(Html("<p>there is fat</p>"), True), (Html("<p>there is a gland</p>"), False)]
    page = write_page("t", [section("Statements", search_gallery(cards, "search statements", BUTTONS))])
    look = "() => document.body.append(document.querySelector('[role=status]').textContent)"
    assert "2 of 2 are shown" in "".join(printed(page, tmp_path, look))


def test_numbers_of_a_column_have_as_many_digits(tmp_path):
    """Before, confidences were 0.5, 0.912 and 1, and a pair's probability 0.9123456789012345."""
    values = [0.5, 0.9123456789012345, 1.0, 0.99996, 0.0, None]
    rows = [((f"row{i}", value, i), True, None) for i, value in enumerate(values)]
    table_of_all = search_rows(["id", "confidence", "age"], rows, "search", BUTTONS, "every answer")
    (text, *_) = printed(write_page("t", [section("Every answer", table_of_all)]), tmp_path)
    lines = [line.split() for line in text.splitlines() if line.strip().startswith("row")]
    assert [line[1] for line in lines] == ["0.500", "0.912", "1.000", "0.99996", "0.000", "–"]
    assert [line[2] for line in lines] == ["0", "1", "2", "3", "4", "5"]


def test_a_table_to_search_has_its_head_on_each_sheet_and_breaks_no_word(tmp_path):
    """Before, only the first sheet had the head, and "hematoxylin" stood in two lines."""
    cells = ("test/17", "610bc710c7a6", "is the calcification located in the left half of the picture?")
    cells += ("periodic acid schiff", "hematoxylin and eosin", 0.253, "cellularity")
    head = ["id", "picture", "question", "actual", "predicted", "confidence", "topic"]
    listed = search_rows(head, [(cells, False, None)] * 150, "search", BUTTONS, "every answer")
    sheets = printed(write_page("t", [section("Every answer", listed)]), tmp_path)
    assert len(sheets) > 4 and all("predicted" in sheet and "confidence" in sheet for sheet in sheets[:-1])
    assert all(word in sheets[1] for word in ("hematoxylin", "610bc710c7a6", "calcification"))


@pytest.mark.parametrize("word", ["x" * 200, "a/b/" * 40])
def test_no_word_is_so_long_that_paper_cuts_columns(word, tmp_path):
    cells = ("test/17", "610bc710c7a6", "what is it?", word, word, 0.253)
    head = ["id", "picture", "question", "actual", "predicted", "confidence"]
    parts = (
        search_rows(head, [(cells, False, None)] * 3, "search", BUTTONS, "every answer"),
        table(head, [cells] * 3, left=5),
    )
    page = write_page("t", [section("Every answer", *parts, table(head, [cells] * 3, left=5, sortable=True))])
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": 688, "height": 900})  # what A4 leaves between its margins
        shown.goto((tmp_path / "page.html").as_uri())
        shown.emulate_media(media="print")
        widths = shown.evaluate("[...document.querySelectorAll('table')].map(table => table.offsetWidth)")
        browser.close()
    assert len(widths) == 3 and max(widths) <= 688
