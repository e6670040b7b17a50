"""Python's http.server, with what our client is asked to understand. The standard library alone."""

import base64
import gzip
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def numbers(length):
    return bytes(index % 251 for index in range(length))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A connection that rests for so long is closed.
    timeout = 2

    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, *arguments):
        pass

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            pieces = []
            while length := int(self.rfile.readline().split(b";")[0], 16):
                pieces.append(self.rfile.read(length))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, body, status=200, fields=()):
        self.send_response(status)
        self.send_header("X-Connection", str(self.client_address[1]))
        for name, value in fields:
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(body)

    def raw(self, *pieces):
        for piece in pieces:
            self.wfile.write(piece)

    def handle_expect_100(self):
        if self.path != "/expect-refuse":
            return super().handle_expect_100()
        self.answer(b"not here", 417, [("Connection", "close")])
        return False

    def route(self):
        first, _, last = self.path[1:].partition("/")
        if first == "hello":
            self.answer(b"hello")
        elif first == "bytes":
            self.answer(numbers(int(last)))
        elif first == "chunked":
            self.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            rest = numbers(int(last))
            while rest:
                piece, rest = rest[:7777], rest[7777:]
                self.raw(b"%x\r\n" % len(piece), piece, b"\r\n")
            self.raw(b"0\r\n\r\n")
        elif first == "close":
            self.raw(b"HTTP/1.0 200 OK\r\n\r\n", numbers(int(last)))
            self.close_connection = True
        elif first in ("echo", "expect-refuse"):
            body = self.body()
            framing = self.headers.get("Transfer-Encoding", "length")
            self.answer(body, fields=[("X-Framing", framing)])
        elif first == "redirect":
            self.body()
            self.answer(b"over there", int(last), [("Location", "/seen")])
        elif first == "seen":
            self.answer(f"{self.command} {len(self.body())}".encode())
        elif self.path == "/cookie/set":
            cookie = "flavour=oat; Path=/cookie; HttpOnly"
            self.answer(b"", 302, [("Location", "/cookie/show"), ("Set-Cookie", cookie)])
        elif self.path == "/cookie/show":
            self.answer(self.headers.get("Cookie", "").encode())
        elif first == "auth":
            expected = "Basic " + base64.b64encode(b"me:se cret").decode()
            if self.headers.get("Authorization") == expected:
                self.answer(b"welcome")
            else:
                self.answer(b"no", 401, [("WWW-Authenticate", 'Basic realm="here"')])
        elif first == "gzip":
            if "gzip" not in self.headers.get("Accept-Encoding", ""):
                self.answer(b"nobody asked for gzip", 406)
            else:
                body = gzip.compress(numbers(int(last)))
                self.answer(body, fields=[("Content-Encoding", "gzip")])
        elif first == "slow":
            time.sleep(int(last) / 1000)
            self.answer(b"late")
        elif first == "drip":
            self.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")
            for _ in range(5):
                self.raw(b"drip")
                time.sleep(int(last) / 1000)
        elif first == "hints":
            hint = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
            self.raw(hint, b"HTTP/1.1 102 Processing\r\n\r\n")
            self.answer(b"hinted")
        elif first == "refuse":
            self.answer(b"too much", 413, [("Connection", "close")])
            self.close_connection = True
        elif first == "trailers":
            self.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
            self.raw(b"a\r\nwith a sum\r\n", b"0\r\nX-Sum: 7\r\n\r\n")
        elif first == "status":
            self.answer(b"", int(last))
        else:
            self.answer(b"", 404)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = route


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        # Who goes while it is answered is nothing to report.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


server = Server(("127.0.0.1", 0), Handler)
print(f"listening on http://127.0.0.1:{server.server_address[1]}", flush=True)
server.serve_forever()
