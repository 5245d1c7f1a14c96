"""The page's addresses: `/` the page, `/ask` a question with its pictures, and the page's own script and style.

Notable:
- A question is one JSON line, which says how many bytes each picture has; the pictures follow. Both are bounded while
  they arrive, in bytes and seconds, and so is how many questions wait; pixels are bounded when the header is read.
- The model answers one question after the other, in one thread; the server goes on listening meanwhile.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import anyio
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from blipvqa.config.kinds import MOST_PICTURES
from blipvqa.errors import UserError
from blipvqa.page.guard import Guard
from blipvqa.pages.html import Html
from blipvqa.pages.page import TEMPLATES as PAGE_TEMPLATES

TEMPLATES = Path(__file__).parent / "templates"
LARGEST_PICTURE = 32 * 2**20  # bytes of a file, or of several together
LARGEST_QUESTION = 200_000  # bytes of the line before it, which holds the conversation so far
SLOWEST_UPLOAD = 120.0  # seconds
TOO_LARGE = f"more than {LARGEST_PICTURE // 2**20} MB of pictures: scale them down, or cut them into tiles"
CALIBRATED = "Confidence is calibrated: how often answers it is so sure of were right on validation pictures."
UNCALIBRATED = "Confidence is the model's own and was never checked: evaluate the run, which calibrates it."
NO_QUESTION = "a question is sent by the page itself"
MOST_WAITING = 16  # questions, with their pictures in memory


class Refused(Exception):
    """A request that is not answered, with its status."""

    def __init__(self, status: int, problem: str):
        super().__init__(problem)
        self.status = status


def make_application(
    answer: Callable[[list[bytes], str, bool, list], dict],
    title: str,
    password: str | None = None,
    calibrated: bool = True,
    talks: bool = False,
) -> Starlette:
    """The application; `answer(pictures, question, with_map, history)` runs in a thread, one call at a time.

    Where the model `talks`, the page sends the conversation so far with each question.
    """
    token = secrets.token_urlsafe(32)
    page = _page(title, token, CALIBRATED if calibrated else UNCALIBRATED, talks)
    style = (PAGE_TEMPLATES / "page.css").read_text(encoding="utf-8") + _file("ask.css")
    script = _file("ask.js")
    turn = anyio.CapacityLimiter(1)
    waiting = anyio.Semaphore(MOST_WAITING)

    async def ask(request: Request) -> Response:
        try:
            if not hmac.compare_digest(request.headers.get("x-token", "").encode(), token.encode()):
                raise Refused(403, "this page is from before the server was started again: load it anew")
            waiting.acquire_nowait()
        except anyio.WouldBlock:
            return _problem(503, "too many people ask at once: try again in a moment")
        except Refused as refused:
            return _problem(refused.status, str(refused))
        try:
            asked = await _question(request)
            return JSONResponse(await anyio.to_thread.run_sync(answer, *asked, limiter=turn))
        except Refused as refused:
            return _problem(refused.status, str(refused))
        except UserError as error:
            return _problem(400, str(error))
        except ClientDisconnect:
            return Response(status_code=400)
        finally:
            waiting.release()

    async def shown(_: Request) -> Response:
        return HTMLResponse(page)

    async def styled(_: Request) -> Response:
        return Response(style, media_type="text/css")

    async def scripted(_: Request) -> Response:
        return Response(script, media_type="text/javascript")

    routes = [
        Route("/", shown),
        Route("/ask.css", styled),
        Route("/ask.js", scripted),
        Route("/ask", ask, methods=["POST"]),
    ]
    return Starlette(routes=routes, middleware=[Middleware(Guard, password=password)])


async def _question(request: Request) -> tuple[list[bytes], str, bool, list]:
    """Each picture's bytes, the question, whether a map is wanted, and the turns before it. Raises Refused."""
    if request.headers.get("content-type") != "application/octet-stream":
        raise Refused(415, NO_QUESTION)
    line, newline, pictures = (await _body(request, LARGEST_PICTURE + LARGEST_QUESTION)).partition(b"\n")
    try:
        head = json.loads(line[:LARGEST_QUESTION]) if newline else None
    except (ValueError, RecursionError):
        head = None
    head = head if isinstance(head, dict) else {}
    history, sizes = head.get("history", []), head.get("sizes", [len(pictures)])
    if not isinstance(history, list) or not isinstance(head.get("question"), str) or not _cut(sizes, len(pictures)):
        raise Refused(400, NO_QUESTION)
    if len(pictures) > LARGEST_PICTURE:
        raise Refused(413, TOO_LARGE)
    ends = list(accumulate(sizes))
    listed = [pictures[end - size : end] for size, end in zip(sizes, ends, strict=True)]
    return listed, head["question"], head.get("map") is True, history


async def _body(request: Request, largest: int) -> bytes:
    """What is sent, as long as it is no larger and no slower than allowed. Raises Refused."""
    if int(request.headers.get("content-length") or 0) > largest:
        raise Refused(413, TOO_LARGE)
    content = bytearray()
    try:
        async with asyncio.timeout(SLOWEST_UPLOAD):
            async for chunk in request.stream():
                content += chunk
                if len(content) > largest:
                    raise Refused(413, TOO_LARGE)
    except TimeoutError:
        raise Refused(408, f"the picture did not arrive within {SLOWEST_UPLOAD:.0f} seconds") from None
    return bytes(content)


def _cut(sizes: object, whole: int) -> bool:
    """Whether `sizes` are the bytes of 1 to MOST_PICTURES pictures that fill the `whole`."""
    if not isinstance(sizes, list) or not 1 <= len(sizes) <= MOST_PICTURES:
        return False
    return all(type(size) is int and size >= 0 for size in sizes) and sum(sizes) == whole


def _problem(status: int, text: str) -> JSONResponse:
    return JSONResponse({"problem": text}, status)


def _page(title: str, token: str, confidence: str, talks: bool) -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, finalize=Html.escape, undefined=StrictUndefined
    )
    return environment.get_template("ask.html").render(
        title=title, token=token, largest=LARGEST_PICTURE, most=MOST_PICTURES, confidence=confidence, talks=talks
    )


def _file(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")
