"""The part of the Hub's HTTP interface that its clients use to fetch and to publish, on this machine's loopback.

The clients are the real ones. Repositories are dicts of files; a commit is the digest of its files.
"""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


def digest_of(files: dict[str, bytes]) -> str:
    digest = hashlib.sha1()
    for name, content in sorted(files.items()):
        digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()


class Hub:
    """`repositories[kind, name]` is `{revision: files}`, by commits, branches and tags; kind is `models` or `datasets`."""

    def __init__(self):
        self.repositories: dict[tuple[str, str], dict[str, dict[str, bytes]]] = {}
        self.gated: set[str] = set()
        self.cut_after: int | None = None  # bytes of the next long answer, after which the connection breaks
        self.requests: list[tuple[str, str]] = []
        self.ranges: list[str] = []  # what was asked to go on from
        self.uploaded: dict[str, bytes] = {}  # large files, by their digest
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def put(self, kind: str, name: str, files: dict[str, bytes], *tags: str) -> str:
        """A new commit on main, which `tags` name too."""
        commit = digest_of(files)
        self.repositories.setdefault((kind, name), {})
        for revision in (commit, "main", *tags):
            self.repositories[kind, name][revision] = files
        return commit

    @contextmanager
    def running(self):
        thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.stop()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self._get(body=False)

    def do_GET(self):
        self._get(body=True)

    # ------------------------------------------------------------------------------------------ fetching

    def _get(self, body: bool) -> None:
        path, query = self._place()
        if path == "/api/whoami-v2":
            return self._json({"name": "someone", "type": "user", "orgs": [], "auth": {}})
        if match := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            kind, name, revision = match.groups()
            if (files := self._files(kind, name, revision or "main")) is not None:
                siblings = [{"rfilename": file} for file in files]
                self._json({"id": name, "sha": digest_of(files), "siblings": siblings, "private": False, "tags": []})
            return None
        if match := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)/tree/([^/]+)(?:/(.*))?", path):
            kind, name, revision, below = match.groups()
            if (files := self._files(kind, name, revision)) is not None:
                self._json(_entries(files, below or "", query.get("recursive", ["false"])[0].lower() == "true"))
            return None
        if match := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            dataset, name, revision, file = match.groups()
            return self._file("datasets" if dataset else "models", name, revision, file, body)
        return self._fail(404, "EntryNotFound")

    def _files(self, kind: str, name: str, revision: str) -> dict[str, bytes] | None:
        repository = self.hub.repositories.get((kind, name))
        if repository is None:
            self._fail(401, "RepoNotFound")
        elif name in self.hub.gated:
            self._fail(403, "GatedRepo")
        elif revision not in repository:
            self._fail(404, "RevisionNotFound")
        else:
            return repository[revision]
        return None

    def _file(self, kind: str, name: str, revision: str, file: str, body: bool) -> None:
        files = self._files(kind, name, revision)
        if files is None:
            return
        if file not in files:
            self._fail(404, "EntryNotFound", {"X-Repo-Commit": digest_of(files)})
            return
        content, first = files[file], 0
        asked = self.headers.get("Range")
        if asked:
            self.hub.ranges.append(asked)
            first = int(re.match(r"bytes=(\d+)-", asked)[1])
        end = int(m[1]) + 1 if asked and (m := re.match(r"bytes=\d+-(\d+)", asked)) else len(content)
        self.send_response(206 if asked else 200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", digest_of(files))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content[first:end])))
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{end - 1}/{len(content)}")
        self.end_headers()
        if not body:
            return
        cut = self.hub.cut_after
        if cut is not None and len(content) - first > cut:
            self.hub.cut_after = None
            self.wfile.write(content[first : first + cut])
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(2)
            return
        self.wfile.write(content[first:end])

    # ---------------------------------------------------------------------------------------- publishing

    def do_POST(self):
        path, _ = self._place()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'someone'}/{asked['name']}"
            self.hub.repositories.setdefault((f"{asked.get('type') or 'model'}s", name), {"main": {}})
            self._json({"url": f"{self.hub.url}/{name}", "name": name})
        elif path == "/api/validate-yaml":
            self._json({"warnings": [], "errors": []})
        elif match := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)/paths-info/([^/]+)", path):
            if (files := self._files(*match.groups())) is not None:
                asked = parse_qs(body.decode()) if body[:1] != b"{" else json.loads(body)
                entries = {entry["path"]: entry for entry in _entries(files, "", True)}
                self._json([entries[name] for name in asked["paths"] if name in entries])
        elif re.fullmatch(r"/api/models/[^/]+/[^/]+/preupload/[^/]+", path):
            files = json.loads(body)["files"]
            large = [{"path": f["path"], "uploadMode": "lfs" if f["size"] > 10_000 else "regular"} for f in files]
            self._json({"files": [file | {"shouldIgnore": False} for file in large]})
        elif path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                {"oid": o["oid"], "size": o["size"], "actions": {"upload": {"href": f"{self.hub.url}/put/{o['oid']}"}}}
                for o in json.loads(body)["objects"]
            ]
            self._json({"transfer": "basic", "objects": objects})
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/([^/]+)", path):
            self._commit(match[1], [json.loads(line) for line in body.splitlines() if line.strip()])
        else:
            self._fail(404, "EntryNotFound")

    def do_PUT(self):
        path, _ = self._place()
        self.hub.uploaded[path.split("/")[-1]] = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._json({})

    def _commit(self, name: str, lines: list[dict]) -> None:
        files = dict(self.hub.repositories["models", name]["main"])
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.uploaded[value["oid"]]
        commit = self.hub.put("models", name, files)
        self._json({"commitUrl": f"{self.hub.url}/{name}/commit/{commit}", "commitOid": commit, "success": True})

    # -------------------------------------------------------------------------------------------- answers

    def _place(self) -> tuple[str, dict]:
        url = urlsplit(self.path)
        self.hub.requests.append((self.command, unquote(url.path)))
        return unquote(url.path), parse_qs(url.query)

    def _json(self, content) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _fail(self, status: int, code: str, more: dict | None = None) -> None:
        body = json.dumps({"error": code}).encode()
        self.send_response(status)
        for key, value in {"X-Error-Code": code, "X-Error-Message": code, **(more or {})}.items():
            self.send_header(key, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _entries(files: dict[str, bytes], below: str, recursive: bool) -> list[dict]:
    """Files, and the folders that they lie in, as the Hub lists a tree."""
    names = [name for name in files if name.startswith(f"{below}/" if below else "")]
    folders = {"/".join(name.split("/")[:depth]) for name in names for depth in range(1, name.count("/") + 1)}
    entries = [
        {"type": "file", "path": n, "size": len(files[n]), "oid": hashlib.sha1(files[n]).hexdigest()} for n in names
    ]
    entries += [{"type": "directory", "path": name, "oid": "0" * 40, "size": 0} for name in sorted(folders - {below})]
    depth = below.count("/") + 1 if below else 0
    return [entry for entry in entries if recursive or entry["path"].count("/") == depth]
