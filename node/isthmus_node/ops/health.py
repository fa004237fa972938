"""/healthz, /readyz and /metrics on the loopback interface, for whoever watches the machine. No counts of a study."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from isthmus.errors import ConfigError
from isthmus.version import __version__

Figures = Mapping[str, int | float]


class Health:
    """Answers on 127.0.0.1 until `close`.

    Parameters
    ----------
    port
        0 takes any free one.
    ready
        Whether the node is attached to its coordinator.
    figures
        Name and value of each metric; counters end in ``_total``.
    """

    def __init__(self, port: int, ready: Callable[[], bool], figures: Callable[[], Figures]) -> None:
        class Handler(BaseHTTPRequestHandler):
            server_version = f"isthmus-node/{__version__}"
            sys_version = ""

            def do_GET(self) -> None:
                if self.path == "/healthz":
                    self._answer(HTTPStatus.OK, "ok\n")
                elif self.path == "/readyz":
                    attached = ready()
                    status = HTTPStatus.OK if attached else HTTPStatus.SERVICE_UNAVAILABLE
                    self._answer(status, "attached\n" if attached else "not attached\n")
                elif self.path == "/metrics":
                    self._answer(HTTPStatus.OK, exposition({**figures(), "isthmus_node_attached": int(ready())}))
                else:
                    self._answer(HTTPStatus.NOT_FOUND, "not found\n")

            def _answer(self, status: HTTPStatus, text: str) -> None:
                body = text.encode("utf-8")
                self.send_response(status)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing: the node's log has events of its own."""

        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        except OSError as error:
            raise ConfigError(
                "PORT_IN_USE",
                f"port {port} of the loopback interface cannot be used for health: {error.strerror}",
                "set another port as health.port, or leave it out",
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5.0)


def exposition(figures: Figures) -> str:
    """Metrics in the text format of Prometheus, version 0.0.4."""
    lines = []
    for name in sorted(figures):
        kind = "counter" if name.partition("{")[0].endswith("_total") else "gauge"
        lines += [f"# TYPE {name} {kind}", f"{name} {figures[name]}"]
    return "\n".join(lines) + "\n"
