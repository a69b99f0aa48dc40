"""A permission service, as small as one can be: who has what stands in people.json."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

people_file, port = sys.argv[1], int(sys.argv[2])


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections open

    def do_GET(self):
        parts = self.path.split("/")  # "", api, users, {id}, permissions
        with open(people_file, encoding="utf-8") as file:
            people = json.load(file)
        if self.headers.get("Authorization") != "Bearer for this example only":
            self.answer(401, {"error": "who are you?"})
        elif parts[:3] != ["", "api", "users"] or parts[4:] != ["permissions"]:
            self.answer(400, {"error": "not a question"})
        elif (user := unquote(parts[3])) not in people:
            self.answer(404, {"error": "no such user"})
        else:
            self.answer(200, {"data": people[user]})

    def answer(self, status, what):
        body = json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", port), Service).serve_forever()
