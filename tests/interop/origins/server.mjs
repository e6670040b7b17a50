// Node's own server, with what our client is asked to understand.
import http from "node:http";
import zlib from "node:zlib";

const numbers = length => Buffer.from(Array.from({ length }, (_, index) => index % 251));
const pause = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds));
const collect = async request => {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  return Buffer.concat(pieces);
};

const handlers = {
  hello: (request, response) => response.end("hello"),
  bytes: (request, response, number) => {
    response.setHeader("Content-Length", number);
    response.end(numbers(number));
  },
  chunked: async (request, response, number) => {
    const all = numbers(number);
    for (let at = 0; at < number; at += 7777) response.write(all.subarray(at, at + 7777));
    response.end();
  },
  close: (request, response, number) => {
    const head = `HTTP/1.1 200 OK\r\nX-Connection: ${request.socket.remotePort}\r\n\r\n`;
    request.socket.end(Buffer.concat([Buffer.from(head), numbers(number)]));
  },
  echo: async (request, response) => {
    const body = await collect(request);
    response.setHeader("X-Framing", request.headers["transfer-encoding"] ?? "length");
    response.end(body);
  },
  both: async (request, response) => {
    response.flushHeaders();
    for await (const piece of request) response.write(piece);
    response.end();
  },
  redirect: (request, response, number) => {
    request.resume();
    response.writeHead(number, { Location: "/seen" });
    response.end("over there");
  },
  seen: async (request, response) => {
    response.end(`${request.method} ${(await collect(request)).length}`);
  },
  "cookie/set": (request, response) => {
    response.writeHead(302, { Location: "/cookie/show", "Set-Cookie": "flavour=oat; Path=/cookie; HttpOnly" });
    response.end();
  },
  "cookie/show": (request, response) => response.end(request.headers.cookie ?? ""),
  auth: (request, response) => {
    const expected = `Basic ${Buffer.from("me:se cret").toString("base64")}`;
    if (request.headers.authorization === expected) return response.end("welcome");
    response.writeHead(401, { "WWW-Authenticate": 'Basic realm="here"' });
    response.end("no");
  },
  gzip: (request, response, number) => {
    const accepts = request.headers["accept-encoding"] ?? "";
    if (!accepts.includes("gzip")) return response.writeHead(406).end("nobody asked for gzip");
    response.setHeader("Content-Encoding", "gzip");
    response.end(zlib.gzipSync(numbers(number)));
  },
  slow: async (request, response, number) => {
    await pause(number);
    response.end("late");
  },
  drip: async (request, response, number) => {
    for (let count = 0; count < 5; count++) {
      response.write("drip");
      await pause(number);
    }
    response.end();
  },
  hints: (request, response) => {
    response.writeProcessing();
    response.writeEarlyHints({ link: "</style.css>; rel=preload" }, () => response.end("hinted"));
  },
  refuse: (request, response) => {
    response.writeHead(413, { Connection: "close" });
    response.end("too much");
  },
  trailers: (request, response) => {
    response.writeHead(200, { Trailer: "X-Sum" });
    response.write("with a sum");
    response.addTrailers({ "X-Sum": "7" });
    response.end();
  },
  status: (request, response, number) => response.writeHead(number).end(),
};

const serve = async (request, response) => {
  response.on("error", () => {});
  const path = request.url.slice(1);
  const [first, last] = path.split("/");
  const handler = handlers[path === "expect-refuse" ? "echo" : path] ?? handlers[first];
  response.setHeader("X-Connection", request.socket.remotePort);
  if (!handler) return response.writeHead(404).end();
  await handler(request, response, Number(last));
};
const server = http.createServer(serve);
server.on("checkContinue", (request, response) => {
  if (request.url === "/expect-refuse") return response.writeHead(417, { Connection: "close" }).end("not here");
  response.writeContinue();
  serve(request, response);
});
server.keepAliveTimeout = 2000;
server.listen(0, "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
