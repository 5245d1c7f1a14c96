"""The Hub: which commit a name means there, how long its silence is waited for, and why it gave nothing.

Notable:
- Where nothing answers within two seconds the clients are told to look into their cache only. By themselves they wait
  for half a minute and more, and try again.
- A name, a branch or a tag means a commit, and the commit is what a run notes.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

PATIENCE = 2.0  # seconds
COMMIT = re.compile(r"[0-9a-f]{40}")
LOG_IN = "log in with `hf auth login`"


def reachable() -> bool:
    """Whether something listens where the Hub is, or where the proxy before it is."""
    if constants.is_offline_mode():
        return False
    answers: list[bool] = []
    # a thread, because looking up a name has no limit of its own
    thread = threading.Thread(target=_connect, args=(*_place(constants.ENDPOINT), answers), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return any(answers)


def _place(endpoint: str) -> tuple[str, int]:
    url = urlsplit(endpoint)
    proxies = getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if proxy and not proxy_bypass(url.hostname or ""):
        url = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return url.hostname or "", url.port or (443 if url.scheme == "https" else 80)


def _connect(host: str, port: int, answers: list[bool]) -> None:
    try:
        socket.create_connection((host, port), timeout=PATIENCE).close()
    except OSError:
        return
    answers.append(True)


def fetch_model(name: str, revision: str | None, files: Sequence[str]) -> Path:
    """The local folder of a model's `files` at a revision (None: main), fetched where the Hub can be reached.

    Raises what `refusal` puts into words.
    """
    return Path(
        snapshot_download(name, revision=revision, allow_patterns=list(files), local_files_only=not reachable())
    )


def dataset_commit(name: str, revision: str | None) -> str | None:
    """The commit that a data set's revision means on the Hub now; None where the Hub cannot be reached."""
    if not reachable():
        return None
    return HfApi().dataset_info(name, revision=revision, timeout=10).sha


def commit_of(folder: Path | None) -> str | None:
    """The commit of a model folder that came from the Hub; None for any other."""
    is_snapshot = folder is not None and folder.parent.name == "snapshots" and COMMIT.fullmatch(folder.name)
    return folder.name if is_snapshot else None


def refusal(error: Exception, name: str, revision: str | None) -> str:
    """Why the Hub gave nothing, in a few words for one line, and what to do."""
    match error:
        case GatedRepoError():
            return f"access to it must be asked for on its page, {constants.ENDPOINT}, then {LOG_IN}"
        case RepositoryNotFoundError():
            return f"there is no '{name}', or it is private: look at its spelling, or {LOG_IN}"
        case RevisionNotFoundError():
            return f"'{name}' has no revision '{revision}'"
        case LocalEntryNotFoundError():
            return "it cannot be reached, and the cache does not hold it"
        case _:
            return f"{' '.join(str(error).split()) or type(error).__name__:.160}"
