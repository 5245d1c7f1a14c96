"""The page as a person meets it: in Chromium, by mouse, clipboard and keyboard, two people at once.

It needs the extra `browser` and a Chromium (`chromium` on the path, or playwright's own); it
is skipped without. With BLIPVQA_SHOTS=folder it leaves screenshots there to look at.
"""

import base64
import io
import json
import os
import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_page import Server, as_png

from blipvqa import ask, fine_tune, load_config, load_model, load_splits

sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.slow
AXE = "async () => (await axe.run()).violations.map(v => `${v.impact}: ${v.id}, ${v.nodes.map(n => n.html)}`)"
DROP = """([content, name, type]) => {
  const bytes = Uint8Array.from(atob(content), c => c.charCodeAt(0)), data = new DataTransfer();
  data.items.add(new File([bytes], name, {type}));
  return data;
}"""
SIZES = ((1280, 900), (390, 844))
TURN = "#turns > li"


@pytest.fixture(scope="module")
def server(finished):
    """The page of the finished run, with the pictures of a retrieval run of the same data beside its answers."""
    root, config = finished
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLIPVQA_ROOT", str(root))
        changes = {"task": "retrieval", "train.epochs": 1, "train.metric": "loss", "generate.max_new_tokens": 6}
        settings = {key: value for key, value in config.as_dict().items() if key not in ("task", "name")}
        fine_tune(load_config(None, _flat(settings) | changes, "alike"))
        server = Server("--nearest", "alike")
    yield server
    server.stop()


def _flat(settings: dict) -> dict:
    """The few keys that make the runs' data and models the same."""
    keep = {
        "data": ("synthetic",),
        "model": ("name", "image_size", "scratch"),
        "train": ("batch_size", "learning_rate"),
    }
    return {f"{section}.{key}": settings[section][key] for section, keys in keep.items() for key in keys}


@pytest.fixture(scope="module")
def launch():
    """`launch(*arguments)`: a Chromium."""
    with sync_api.sync_playwright() as playwright:
        yield lambda *arguments: playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", *arguments]
        )


@pytest.fixture(scope="module")
def chromium(launch):
    browser = launch()
    yield browser
    browser.close()


@pytest.fixture
def open_page(chromium, server):
    """`open_page(**context)`: the page in a context of its own, as another person has it."""
    contexts = []

    def opened(**options):
        contexts.append(chromium.new_context(**{"bypass_csp": True, **options}))
        page = contexts[-1].new_page()
        page.goto(f"http://127.0.0.1:{server.port}/")
        return page

    yield opened
    for context in contexts:
        context.close()


def shot(page, name: str) -> None:
    """A picture of the page for people to look at."""
    if folder := os.environ.get("BLIPVQA_SHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def as_file(content: bytes, name="own.png") -> dict:
    return {"name": name, "mimeType": "image/png", "buffer": content}


def answered(page, question: str, turn: int) -> str:
    """Ask, and the text of the answer that appears."""
    page.fill("#question", question)
    page.click("#send")
    page.wait_for_selector(f"{TURN}:nth-child({turn}) .answer", timeout=60_000)
    return page.inner_text(f"{TURN}:nth-child({turn})")


def test_upload_ask_ask_on_and_take_the_conversation_away(done, open_page, tmp_path):
    model, processor = load_model(str(done.folder / "model"), done)
    data = load_splits(done)["test"]
    picture, question = data.image(0), data.rows[0]["question"]
    page = open_page()
    page.click("#send")  # the browser itself asks for a question first
    page.fill("#question", question)
    page.click("#send")
    assert "Choose a picture first" in page.inner_text("#status")
    page.set_input_files("#file", as_file(as_png(picture)))
    page.wait_for_selector("#preview img")
    expected = ask(model, processor, picture, question, done.generate)
    text = answered(page, question, 1)
    answer = expected.answer or "(the model said nothing)"
    assert page.inner_text("#status") == f"{question} {answer}"
    assert answer in text and f"{expected.confidence:.0%}".replace("%", " %") in text
    assert "Training pictures that look most alike" in text and "cosine" in text
    assert page.locator(f"{TURN} .alike img").count() == 4
    follow_up = "is there a gland?"
    assert ask(model, processor, picture, follow_up, done.generate).answer in answered(page, follow_up, 2)
    shot(page, "asked")
    with page.expect_download() as download:
        page.click("#save")
    saved = tmp_path / "conversation.html"
    download.value.save_as(saved)
    text = saved.read_text(encoding="utf-8")
    assert all(told in text for told in ("No medical device", "confidence means nothing", question, follow_up))
    assert text.count("data:image/jpeg") == 2 + 2 * 4
    reader = page.context.new_page()
    reader.goto(saved.as_uri())
    assert reader.locator("img").first.evaluate("image => image.naturalWidth") > 0
    shot(reader, "conversation")
    page.click("#clear")
    assert page.locator(TURN).count() == 0 and page.is_disabled("#save")


def test_a_picture_may_be_dropped_or_pasted(done, open_page):
    model, processor = load_model(str(done.folder / "model"), done)
    data = load_splits(done)["test"]
    page, question = open_page(), "is there a gland?"
    for turn, (event, row) in enumerate((("drop", 0), ("paste", len(data) - 1)), start=1):
        content = base64.b64encode(as_png(data.image(row))).decode()
        transfer = page.evaluate_handle(DROP, [content, f"{event}.png", "image/png"])
        if event == "drop":
            page.dispatch_event("#drop", "dragover", {"dataTransfer": transfer})
            assert "over" in page.get_attribute("#drop", "class")
            page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
            assert "over" not in page.get_attribute("#drop", "class")
        else:
            page.evaluate(
                "data => document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data}))", transfer
            )
        assert f"{event}.png" in page.inner_text("#status")
        assert ask(model, processor, data.image(row), question, done.generate).answer in answered(page, question, turn)
    page.evaluate("document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: new DataTransfer()}))")
    assert "Asking" not in page.inner_text("#status")  # text on the clipboard changes nothing


def test_several_pictures_are_asked_about_together_in_the_order_of_their_names(done, open_page, tmp_path):
    model, processor = load_model(str(done.folder / "model"), done)
    data, question = load_splits(done)["test"], "is there a gland?"
    images = [data.image(0), data.image(len(data) - 1)]
    page = open_page()
    page.set_input_files("#file", [as_file(as_png(images[k]), f"slice {name}.png") for k, name in ((1, 10), (0, 9))])
    assert page.inner_text("#status") == "2 pictures: slice 9.png, slice 10.png"
    assert page.locator("#preview img").count() == 2
    expected = ask(model, processor, images, question, done.generate, together=True)
    text = answered(page, question, 1)
    answer = expected.answer or "(the model said nothing)"
    assert page.inner_text("#status") == f"{question} {answer}"
    assert answer in text and f"{expected.confidence:.0%}".replace("%", " %") in text
    assert page.get_attribute(f"{TURN} > img", "alt").startswith("the pictures, and beside each")
    shot(page, "several")
    page.set_input_files("#file", [as_file(as_png(images[0]), f"{k}.png") for k in range(65)])
    assert "At most 64 pictures" in page.inner_text("#status") and page.locator("#preview img").count() == 0
    large = [tmp_path / f"{k}.png" for k in range(2)]
    for file in large:
        file.write_bytes(bytes(20 * 2**20))
    page.set_input_files("#file", large)
    assert "These 2 files have 40 MB, at most 32 MB" in page.inner_text("#status")


def test_a_foreign_picture_is_warned_of_and_what_is_no_picture_refused(open_page, tmp_path):
    page = open_page()
    page.set_input_files("#file", as_file(as_png(Image.effect_noise((60, 60), 120).point(lambda v: v // 3))))
    assert "unlike those of training" in answered(page, "is there a gland?", 1)
    shot(page, "foreign")
    huge = tmp_path / "huge.png"
    huge.write_bytes(b"\x89PNG" + bytes(100 * 2**20))
    page.set_input_files("#file", huge)
    assert "100 MB" in page.inner_text("#status") and "at most 32 MB" in page.inner_text("#status")
    shot(page, "huge")
    page.fill("#question", "and now?")
    page.click("#send")  # the picture before it is not asked about in its place
    assert "Choose a picture first. This file has 100 MB" in page.inner_text("#status")  # its name stands in the field
    page.set_input_files("#file", as_file(b"no picture", "notes.txt"))
    page.click("#send")
    page.wait_for_function("document.getElementById('status').classList.contains('wrong')")
    assert "none of PNG" in page.inner_text("#status")
    assert page.locator(TURN).count() == 1


def test_two_people_at_once_each_see_their_own(done, open_page):
    model, processor = load_model(str(done.folder / "model"), done)
    data = load_splits(done)["test"]
    rows = (0, len(data) - 1)
    pages = [open_page(), open_page()]
    for page, row in zip(pages, rows, strict=True):
        page.set_input_files("#file", as_file(as_png(data.image(row))))
    for turn in range(1, 4):
        for page, row in zip(pages, rows, strict=True):  # both are sent before one is answered
            page.fill("#question", f"{data.rows[row]['question']}{' ' * turn}")
            page.click("#send")
        for page, row in zip(pages, rows, strict=True):
            page.wait_for_selector(f"{TURN}:nth-child({turn}) .answer")
            expected = ask(model, processor, data.image(row), data.rows[row]["question"], done.generate)
            assert expected.answer in page.inner_text(f"{TURN}:nth-child({turn}) .answer")
            shown = page.get_attribute(f"{TURN}:nth-child({turn}) > img", "src").partition(",")[2]
            both, own = Image.open(io.BytesIO(base64.b64decode(shown))), data.image(row)
            left = np.asarray(both.crop((0, 0, *own.size)), int)
            assert np.abs(left - np.asarray(own, int)).mean() < 12, "another person's picture"


def test_all_of_it_by_keyboard_alone(open_page, tmp_path):
    picture = tmp_path / "own.png"
    picture.write_bytes(as_png(Image.new("RGB", (40, 40), "pink")))
    page = open_page()

    def focused():
        return page.evaluate("document.activeElement.id")

    page.keyboard.press("Tab")
    assert focused() == "file"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"  # where one is can be seen
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(picture)
    assert focused() == "question"
    page.keyboard.type("is there a gland?")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"{TURN} .answer")
    page.wait_for_function("document.activeElement.id === 'question'")  # to ask on
    order = []
    for _ in range(4):
        page.keyboard.press("Tab")
        order.append(focused())
    assert order == ["send", "map", "save", "clear"]
    page.keyboard.press("Shift+Tab")
    with page.expect_download():
        page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert page.locator(TURN).count() == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: str(size[0]))
def test_nobody_is_kept_out(open_page, theme, size):
    pytest.importorskip("axe_playwright_python")
    page = open_page(color_scheme=theme, viewport={"width": size[0], "height": size[1]})
    page.set_input_files("#file", as_file(as_png(Image.new("RGB", (300, 200), "pink"))))
    answered(page, "is there a gland with averyveryveryveryveryveryveryveryverylongwordthatwouldnotfitanyphone?", 1)
    page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    assert page.evaluate(AXE) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    shot(page, f"{theme}-{size[0]}")


def asked_by_the_page(log: Path, origin: str) -> set[str]:
    """What a page of `origin` had fetched, in Chromium's log of the network; what Chromium asks for itself (updates,
    spelling) has no origin."""
    events = [event.get("params", {}) for event in json.loads(log.read_text(encoding="utf-8"))["events"]]
    ours = [params for params in events if "url" in params and origin in str(params.get("initiator"))]
    return {params["url"] for params in ours if not params["url"].startswith(("data:", "blob:"))}


@pytest.mark.parametrize("planted", [False, True])
def test_the_page_asks_no_other_server_for_anything(launch, server, tmp_path, planted):
    """With a planted request, which the page's policy forbids, to show that the log would tell."""
    log, origin = tmp_path / "log.json", f"http://127.0.0.1:{server.port}"
    browser = launch(f"--log-net-log={log}")
    page = browser.new_context(bypass_csp=planted).new_page()
    page.goto(origin)
    page.set_input_files("#file", as_file(as_png(Image.new("RGB", (40, 40), "pink"))))
    answered(page, "is there a gland?", 1)
    page.evaluate("fetch('http://localhost:9/planted', {mode: 'no-cors'}).catch(() => 0)")
    browser.close()
    asked = asked_by_the_page(log, origin)
    assert f"{origin}/ask" in asked
    others = {url for url in asked if not url.startswith(f"{origin}/")}
    assert others == ({"http://localhost:9/planted"} if planted else set())
