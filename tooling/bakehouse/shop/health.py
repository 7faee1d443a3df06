"""The health of the worker over HTTP, for what restarts it or sends it work."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from bakehouse.errors import BakehouseError
from bakehouse.shop.worker import Worker


@contextmanager
def served(worker: Worker, port: int) -> Iterator[None]:
    """Answer /live and /ready while the worker runs: 200 if it is, 503 if it is not."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            states = {"/live": worker.alive, "/ready": worker.alive and worker.ready}
            state = states.get(self.path)
            body = json.dumps({"live": states["/live"], "ready": states["/ready"]}).encode()
            self.send_response(404 if state is None else 200 if state else 503)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Keeps requests out of the log of the worker."""

    try:
        server = ThreadingHTTPServer(("", port), Answer)
    except OSError as error:
        raise BakehouseError(
            "port", f"cannot listen on port {port}: {error.strerror}", "Pass another --health PORT."
        ) from None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
