#!/usr/bin/env python3
"""The ClickHouse engine behind the part of its HTTP interface that Tidemark uses.

    python3 serve.py DIR [--port P]

The engine is the real one, as a library (PyPI: chdb-core); DIR holds its data. This file only turns HTTP into calls: a query in
`?query=` or in the body, the rows of an INSERT in the body, settings as further parameters. One query at a time. What is not the
server's: an INSERT reaches the engine when its body is complete, and users, quotas and compression are not there.
"""

import argparse
import os
import re
import sys
import tempfile
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from chdb import session

# Parameters that are not settings.
OWN = {"query", "database", "default_format", "user", "password", "compress", "decompress", "query_id", "session_id"}
INSERT = re.compile(r"^\s*INSERT\s", re.IGNORECASE)
INSERT_FORMAT = re.compile(r"\sFORMAT\s+(\w+)\s*$", re.IGNORECASE)
SELECT_FORMAT = re.compile(r"\sFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
CODE = re.compile(r"Code: (\d+)")


def literal(value):
    return value if re.fullmatch(r"-?\d+(\.\d+)?", value) else "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


class Engine:
    def __init__(self, folder):
        self.session = session.Session(folder)
        self.turn = threading.Lock()
        self.folder = folder

    def run(self, sql, database, settings, body, default_format):
        listed = ", ".join(f"{name} = {literal(value)}" for name, value in settings.items())
        with self.turn:
            if database:
                self.session.query(f"USE `{database}`")
            if INSERT.match(sql) and body is not None:
                found = INSERT_FORMAT.search(sql)
                if not found:
                    raise ValueError("Code: 62. an INSERT with a body needs a FORMAT")
                head = sql[: found.start()]
                with tempfile.NamedTemporaryFile(dir=self.folder, suffix=".in") as rows:
                    rows.write(body)
                    rows.flush()
                    settings_clause = f" SETTINGS {listed}" if listed else ""
                    # A settings clause of the query itself stays where it is, in front of the format.
                    clause = re.search(r"\sSETTINGS\s.*$", head, re.IGNORECASE | re.DOTALL)
                    if clause:
                        head, settings_clause = head[: clause.start()], clause.group(0) + (f", {listed}" if listed else "")
                    self.session.query(f"{head} FROM INFILE '{rows.name}'{settings_clause} FORMAT {found.group(1)}")
                return b""
            found = SELECT_FORMAT.search(sql)
            wanted = found.group(1) if found else default_format or "TabSeparated"
            if found:
                sql = sql[: found.start()]
            if listed and re.match(r"^\s*(SELECT|WITH)\b", sql, re.IGNORECASE):
                sql = f"{sql} SETTINGS {listed}" if not re.search(r"\bSETTINGS\b", sql) else f"{sql}, {listed}"
            answer = self.session.query(sql, wanted)
            return answer.bytes() if answer is not None else b""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self):
        length = self.headers.get("Content-Length")
        if length is not None:
            data = self.rfile.read(int(length))
            if len(data) < int(length):
                raise ConnectionError("the body ended early")
            return data
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return b""
        data = b""
        while True:
            line = self.rfile.readline()
            if not line:
                raise ConnectionError("the body ended early")
            size = int(line.split(b";")[0], 16)
            chunk = self.rfile.read(size + 2)
            if len(chunk) < size + 2:
                raise ConnectionError("the body ended early")
            if size == 0:
                return data
            data += chunk[:-2]

    def answer(self):
        parts = urllib.parse.urlsplit(self.path)
        if parts.path == "/ping":
            return self.reply(200, b"Ok.\n")
        given = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
        try:
            body = self.body()
        except ConnectionError:
            self.close_connection = True
            return None
        query = given.get("query", "")
        rows = body if query and INSERT.match(query) else None
        sql = query if rows is not None else (query + "\n" + body.decode() if query else body.decode())
        settings = {name: value for name, value in given.items() if name not in OWN and not name.startswith("param_")}
        for name, value in given.items():
            if name.startswith("param_"):
                sql = re.sub(r"\{" + re.escape(name[6:]) + r":\s*\w+\}", literal(value), sql)
        try:
            result = self.server.engine.run(sql.strip(), given.get("database"), settings, rows, given.get("default_format"))
        except Exception as error:  # whatever the engine says, the client is told
            text = str(error)
            code = CODE.search(text)
            return self.reply(500 if not code else 400, text.encode(), {"X-ClickHouse-Exception-Code": code.group(1) if code else "1001"})
        return self.reply(200, result)

    def reply(self, status, body, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return None

    do_GET = do_POST = answer


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("folder")
    arguments.add_argument("--port", type=int, default=8123)
    given = arguments.parse_args()
    os.makedirs(given.folder, exist_ok=True)
    server = ThreadingHTTPServer(("127.0.0.1", given.port), Handler)
    server.daemon_threads = True
    server.engine = Engine(os.path.abspath(given.folder))
    print(f"ready: http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
