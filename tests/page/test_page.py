"""The page to ask on, as its server is met: by eight people at once, by other pages, by what is too large."""

import base64
import http.client
import io
import json
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from blipvqa import ask, load_model, load_splits
from blipvqa.__main__ import main
from blipvqa.page.application import LARGEST_PICTURE

WATCHED = """
import os, sys
seen = []

def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen", "os.system"):
        seen.append((event, str(arguments[1:] if event.startswith("socket.c") else arguments)))
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        seen.append((event, str(arguments[0])))

from blipvqa.__main__ import main
import blipvqa.page.serving

sys.addaudithook(watch)
code = main(sys.argv[1:])
print("SEEN", seen, flush=True)
sys.exit(code)
"""


class Server:
    """The page's process, watched by an audit hook, and a way to talk to it."""

    def __init__(self, *arguments: str, **environment: str):
        command = [sys.executable, "-c", WATCHED, "page", "--name", "tiny", "--port", "0", *arguments]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
        )
        line = self.process.stdout.readline()
        assert "open http://" in line, self.process.stderr.read()
        self.port = int(line.split("/ and stop")[0].rpartition(":")[2])
        self.token = ""

    def request(self, method: str, path: str, body=None, **headers: str) -> tuple[int, dict, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def ask(self, picture: bytes, question: str, with_map: bool = False, **headers: str) -> tuple[int, dict]:
        if not self.token:
            page = self.request("GET", "/")[2].decode()
            self.token = page.partition('name="token" content="')[2].partition('"')[0]
        body = json.dumps({"question": question, "map": with_map}).encode() + b"\n" + picture
        sent = {"Content_Type": "application/octet-stream", "X_Token": self.token} | headers
        status, _, content = self.request("POST", "/ask", body, **sent)
        return status, json.loads(content) if content.startswith(b"{") else {"problem": content.decode()}

    def stop(self, by: int = signal.SIGINT) -> tuple[int, str]:
        self.process.send_signal(by)
        output, _ = self.process.communicate(timeout=60)
        return self.process.returncode, output


@pytest.fixture(scope="module")
def server(finished):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLIPVQA_ROOT", str(finished[0]))
        server = Server()
    yield server
    if server.process.poll() is None:
        server.stop()


def as_png(image: Image.Image, **texts: str) -> bytes:
    buffer, metadata = io.BytesIO(), PngImagePlugin.PngInfo()
    for name, text in texts.items():
        metadata.add_text(name, text)
    image.save(buffer, "PNG", pnginfo=metadata)
    return buffer.getvalue()


def test_other_pages_and_what_is_no_question_are_refused(server):
    picture = as_png(Image.new("RGB", (20, 20), "red"))
    assert server.ask(picture, "what is it?")[0] == 200
    status, headers, page = server.request("GET", "/")
    assert status == 200 and "default-src 'none'" in headers["content-security-policy"]
    assert b"http://" not in page and b"https://" not in page
    assert server.request("GET", "/", Host="evil.example")[0] == 421
    assert server.request("GET", "/", Host=f"localhost:{server.port}")[0] == 200
    for refused in ({"Origin": "http://evil.example"}, {"Sec_Fetch_Site": "cross-site"}, {"X_Token": "guessed"}):
        assert server.ask(picture, "what is it?", **refused)[0] == 403
    assert server.ask(picture, "what is it?", Content_Type="text/plain")[0] == 415
    status, answer = server.ask(b"no picture", "what is it?")
    assert status == 400 and "it is none of PNG" in answer["problem"]
    status, answer = server.ask(picture, " ? ")
    assert status == 400 and "empty" in answer["problem"]
    assert (
        server.request("POST", "/ask", b"[" * 5000, Content_Type="application/octet-stream", X_Token=server.token)[0]
        == 400
    )
    huge = as_png(Image.new("1", (12_000, 12_000)))
    status, answer = server.ask(huge, "what is it?")
    assert status == 400 and "too large" in answer["problem"]
    status, answer = server.ask(b"\0" * (LARGEST_PICTURE + 1), "what is it?")
    assert status == 413 and "32 MB" in answer["problem"]
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.putrequest("POST", "/ask")
    for name, value in (("Content-Type", "application/octet-stream"), ("X-Token", server.token)):
        connection.putheader(name, value)
    connection.putheader("Content-Length", "100000000")  # 100 MB are refused before they are sent
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_eight_people_at_once_each_get_their_own_answer_and_nothing_of_it_leaves_or_stays(done, server):
    model, processor = load_model(str(done.folder / "model"), done)
    data = load_splits(done)["test"]
    people = [(data.image(i), data.rows[i]["question"]) for i in range(0, len(data), len(data) // 8)][:8]
    with ThreadPoolExecutor(8) as threads:
        answers = list(
            threads.map(lambda asked: server.ask(as_png(asked[0], Patient="Jane Doe"), asked[1], True), people)
        )
    for (picture, question), (status, answer) in zip(people, answers, strict=True):
        expected = ask(model, processor, picture, question, done.generate)
        assert (status, answer["question"], answer["answer"]) == (200, question, expected.answer)
        assert answer["confidence"] == pytest.approx(expected.confidence, abs=1e-5)
        shown = base64.b64decode(answer["picture"].partition(",")[2])
        both = Image.open(io.BytesIO(shown))
        wide = (1 + bool(expected.answer)) * picture.width  # without an answer there is no map beside it
        assert both.size == (wide, picture.height) and b"Jane" not in shown
        own = np.abs(np.asarray(both.crop((0, 0, *picture.size)), int) - np.asarray(picture, int)).mean()
        assert own < 12, "another person's picture"
    status, follow_up = server.ask(as_png(people[0][0]), "is there a gland?")
    assert status == 200 and follow_up["answer"]
    code, output = server.stop()  # after what was refused, too
    assert code == 0 and "the page is closed" in output
    assert "SEEN []" in output


def test_beyond_this_machine_only_with_a_password(done, capsys, monkeypatch):
    monkeypatch.delenv("BLIPVQA_PAGE_PASSWORD", raising=False)
    assert main(["page", "--name", "tiny", "--host", "0.0.0.0"]) == 2
    assert "BLIPVQA_PAGE_PASSWORD" in capsys.readouterr().err
    monkeypatch.setenv("BLIPVQA_PAGE_PASSWORD", "short")
    assert main(["page", "--name", "tiny", "--host", "0.0.0.0"]) == 2
    server = Server("--host", "0.0.0.0", BLIPVQA_PAGE_PASSWORD="a long enough one")
    try:
        basic = "Basic " + base64.b64encode(b"me:a long enough one").decode()
        assert server.request("GET", "/")[0] == 401
        assert server.request("GET", "/", Authorization="Basic bWU6d3Jvbmc=")[0] == 401
        assert server.request("GET", "/", Authorization=basic)[0] == 200
        assert main(["page", "--name", "tiny", "--port", str(server.port)]) == 2
        assert "give another --port" in capsys.readouterr().err
    finally:
        code, _ = server.stop(signal.SIGTERM)
    assert code == 0


def test_a_dicom_file_can_be_chosen_on_the_page_and_in_the_widget():
    """Before, a browser's dialog greyed them out, though the server reads them."""
    for file in ("templates/ask.html", "widget.py"):
        text = files("blipvqa.page").joinpath(file).read_text(encoding="utf-8")
        assert ".dcm" in re.search(r'accept="([^"]*)"', text).group(1).split(",")
