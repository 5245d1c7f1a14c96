"""A run's page on this machine, until it is stopped.

Notable:
- `starlette` on `uvicorn`, both without their extras, because they are kept, are small (a megabyte beside
  gradio's 83) and bring no page of their own. Gradio's lists fail screen readers (its issues 10532 and 12855), and its
  plots name other servers. The standard library's server is, as its documentation says, not for strangers.
"""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import sys

import uvicorn

from blipvqa.config.knobs import Config
from blipvqa.data.dataset import load_splits
from blipvqa.errors import InputError
from blipvqa.models.devices import pick_device
from blipvqa.models.loading import load_model
from blipvqa.page.answers import Answers
from blipvqa.page.application import make_application
from blipvqa.retrieval.index import make_index
from blipvqa.runs.run import Run
from blipvqa.training.trained import check_weights
from blipvqa.vqa.asking import as_calibrated
from blipvqa.vqa.calibration import read_calibration
from blipvqa.vqa.conformal import read_answer_sets
from blipvqa.vqa.selective import calibration_in_force, threshold_in_force

PASSWORD = "BLIPVQA_PAGE_PASSWORD"  # of the environment: on a command line others would read it
SHORTEST = 12  # characters


def serve(config: Config, host: str = "127.0.0.1", port: int = 7860, nearest: Run | None = None) -> None:
    """Show the page of the run that `config` names, until Ctrl-C or a signal to end.

    With `nearest`, a run of task: retrieval, the training pictures that look most alike stand beside each answer; its
    index of them is made, or added to, before the page opens.

    Raises InputError for a host beyond this machine without a password, or a port that is taken; RunError without a
    model.
    """
    password = _password(host)
    run = Run(config.folder)
    check_weights(run, "vqa")
    beside = as_calibrated(config.generate, read_answer_sets(run.model_folder), read_calibration(run.model_folder))
    if threshold_in_force(*beside) is None:
        print(f"{run.name}: no threshold reaches generate.wished_accuracy on validation: every answer is withheld")
    with _listening(host, port) as listener:
        model, processor = load_model(str(run.model_folder), config)
        index = make_index(nearest, load_splits(config)["train"]) if nearest else None
        answers = Answers(model.to(pick_device()), processor, config.generate, index)
        checked = calibration_in_force(*beside) is not None
        application = make_application(answers, run.name, password, checked, answers.talks)
        server = uvicorn.Server(
            uvicorn.Config(
                application,
                lifespan="off",
                access_log=False,  # a log of who asked when is nobody's
                log_level="warning",
                server_header=False,
                proxy_headers=False,
                ws="none",
                limit_concurrency=100,
                timeout_graceful_shutdown=10,
            )
        )
        place = f"[{host}]" if ":" in host else host
        print(f"{run.name}: open http://{place}:{listener.getsockname()[1]}/ and stop it with Ctrl-C", flush=True)
        _until_stopped(server, listener)
        print(f"{run.name}: the page is closed")


def _until_stopped(server: uvicorn.Server, listener: socket.socket) -> None:
    """Run until a signal; the questions that are being answered still are."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn sends it on, once it has ended
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        pass  # Ctrl-C, which uvicorn sends on as well: it is how a person ends this
    finally:
        signal.signal(signal.SIGTERM, before)


def _password(host: str) -> str | None:
    """None on this machine alone; else the password, which must be there and long enough."""
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise InputError(f"host '{host}' is no address: give 127.0.0.1, or an address of this machine") from None
    if loopback:
        return None
    password = os.environ.get(PASSWORD, "")
    if len(password) < SHORTEST:
        raise InputError(
            f"host '{host}' can be reached from other machines: set {PASSWORD} in the environment to a password of at "
            f"least {SHORTEST} characters, and put a server with TLS before it, or leave the host away"
        )
    return password


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server(("127.0.0.1" if host == "localhost" else host, port), family=family)
    except OSError as error:
        raise InputError(f"port {port} of {host} cannot be used ({error.strerror}): give another --port") from None
