"""A server of this machine that takes messages, or does not."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver:
    """`heard`: (path, JSON) of each message. `url`: its address with a token in it."""

    def __init__(self, port):
        self.heard, self.url, self.port = [], f"http://127.0.0.1:{port}/hook/T0K3N-of-the-test", port

    @property
    def events(self):
        return [message["event"] for _, message in self.heard]


@contextmanager
def receiver(status=200, headers=(), release=None):
    """release: an event that is waited for before the answer; it is set at the end."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.heard.append((self.path, json.loads(body)))
            if release is not None:
                release.wait(20)
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        found = Receiver(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield found
        finally:
            if release is not None:
                release.set()
            server.shutdown()
            thread.join()
