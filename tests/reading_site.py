"""A small site with nothing but a viewer on it, for its tests and benchmarks in a browser."""

from __future__ import annotations

import mimetypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from medr1_pacs.web.pages.templating import STATIC_FOLDER
from medr1_pacs.web.security.headers import HEADERS

PAGE = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>Viewer</title>
  <link rel="icon" href="/static/icon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="/static/medr1.css">
  <link rel="stylesheet" href="/static/reading/viewer.css">
  <link rel="stylesheet" href="/page.css">
  <script type="module" src="/page.js"></script>
</head>
<body>
  <div class="bar" id="actions"></div>
  <div id="viewer">
    <p class="viewer-note top left" id="frame"></p>
    <p class="viewer-note top right marked" id="mark"></p>
    <p class="viewer-note bottom left" id="window"></p>
    <p class="viewer-note bottom right"><span id="value"></span>  <span id="zoom"></span></p>
    <p class="viewer-note middle" id="message" role="status"></p>
  </div>
  <form><input aria-label="Comment"></form>
</body>
</html>"""
SCRIPT = """
import * as frames from "/static/reading/frames.js";
import { ACTIONS, Viewer, handleKey } from "/static/reading/viewer.js";

const find = (id) => document.getElementById(id);
const names = ["frame", "window", "value", "zoom", "mark", "message"];
const status = Object.fromEntries(names.map((name) => [name, find(name)]));
const viewer = new Viewer(find("viewer"), { status });
const told = [];
for (const name of ["frame", "window", "value", "load"]) {
  viewer.addEventListener(name, ({ detail }) => told.push({ name, detail }));
}
for (const action of ACTIONS) {
  const button = document.createElement("button");
  button.textContent = `${action.label} ${action.key}`;
  button.addEventListener("click", () => action.run(viewer));
  find("actions").append(button);
}
document.addEventListener("keydown", (event) => handleKey(viewer, event));
Object.assign(window, { viewer, reading: { frames, Viewer }, told });
"""
STYLE = """
body { height: 100vh; display: flex; flex-direction: column; }
.bar { display: flex; flex-wrap: wrap; gap: .4rem; padding: .5rem; }
#viewer { flex: 1; margin: 0 .5rem .5rem; }
form { margin: 0 .5rem .5rem; }
"""
PARTS = {
    "/": (PAGE, "text/html; charset=utf-8"),
    "/page.js": (SCRIPT, "text/javascript"),
    "/page.css": (STYLE, "text/css"),
}


@dataclass
class ReadingSite:
    """What the site answers: by path, bytes or a status; anything else is not there."""

    url: str
    answers: dict[str, bytes | int | Callable[[], bytes | int]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """The paths of frames, in the order in which they were asked for."""

    def add_series(self, name: str, messages: list[bytes], **fields: Any) -> dict[str, Any]:
        """Serve messages as the frames of a series; returns it as the viewer takes it."""
        for number, message in enumerate(messages, start=1):
            self.answers[f"/series/{name}/frames/{number}"] = message
        url = f"/series/{name}/frames/{{n}}"
        return {"label": name, "frames": len(messages), "url": url, "marks": [], **fields}


@contextmanager
def serve_reading_site() -> Iterator[ReadingSite]:
    """Serve the site on a free port of this machine, with the headers that our pages have."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            content, content_type = self._find()
            is_there = isinstance(content, bytes)
            self.send_response(200 if is_there else content)
            for name, value in HEADERS.items():
                self.send_header(name, value)
            body = content if is_there else b'{"detail": "it is not to be seen"}'
            self.send_header("Content-Type", content_type if is_there else "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _find(self) -> tuple[bytes | int, str]:
            if self.path in PARTS:
                text, content_type = PARTS[self.path]
                return text.encode(), content_type
            if self.path.startswith("/static/"):
                file = STATIC_FOLDER / self.path.removeprefix("/static/")
                content_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
                return file.read_bytes(), content_type
            if "/frames/" in self.path:
                site.asked.append(self.path)
            answer = site.answers.get(self.path, 404)
            return answer() if callable(answer) else answer, "application/octet-stream"

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site = ReadingSite(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
