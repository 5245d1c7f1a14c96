"""One process at a time writes to a run folder.

The lock is the operating system's, which drops it when a process dies. The lock file stays when the lock is released:
were it removed, a process that waits on the removed file and one that makes a new file would both hold a lock.
"""

from __future__ import annotations

import errno
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from blipvqa.runs.files import make_folder
from blipvqa.runs.names import refuse_second_name
from blipvqa.runs.run import RunError

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)


def _refuse_a_closed_folder(folder: Path) -> None:
    """Raises RunError where nothing can be written into a folder that is there: that was said behind the answers."""
    if folder.is_dir():
        try:
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise RunError(
                f"run '{folder.name}': its folder cannot be written ({error.strerror}). Change its permissions, or "
                "copy it: a copy has the name of its folder"
            ) from None


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process. Raises RunError that names the process which holds it."""
    refuse_second_name(folder)
    folder = folder.resolve()  # whoever reaches it through a link takes the same lock
    path = folder.with_name(f".{folder.name}.lock")  # beside it: the folder itself may be moved aside
    holder = path.with_suffix(".holder")  # not the lock file itself: Windows lets nobody else read that one
    try:
        make_folder(path.parent)
        system_lock = FileLock(path, timeout=0, fallback_to_soft=False)
        system_lock.acquire()
    except Timeout:
        name = holder.read_text(encoding="utf-8").strip() if holder.exists() else ""
        raise RunError(
            f"run '{folder.name}' is being written by {name or 'another process'}. Wait for it, stop it, or give this "
            "run another name."
        ) from None
    except (OSError, NotImplementedError) as error:
        if isinstance(error, NotImplementedError) or error.errno in NO_LOCKS:
            raise RunError(
                f"run '{folder.name}': the file system of '{folder.parent.name}' has no locks, so two processes could "
                "write to one run. Set BLIPVQA_ROOT to a folder on a disk that has them."
            ) from None
        raise RunError(
            f"run '{folder.name}' has nowhere to go: the folder '{folder.parent.name}' cannot be written "
            f"({error.strerror})"
        ) from None
    try:
        _refuse_a_closed_folder(folder)
        holder.write_text(
            f"process {os.getpid()} on {socket.gethostname()}, started {time.strftime('%Y-%m-%d %H:%M:%S')}",
            encoding="utf-8",
        )
        yield
    finally:
        system_lock.release()
