"""Stands in for Ory Keto, since no Keto is at hand: the part of its documented REST API that this example needs, in memory.

GET /relation-tuples, GET /relation-tuples/check, GET /relation-tuples/expand (the read API), PUT and DELETE
/admin/relation-tuples (the write API; in Keto on a port of its own). What follows from what is the permission language's in
Keto; here it is RULES.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

PAGE_MAX = 2  # small, so that there are pages
RULES = {
    ("document", "viewer"): ["owner", "parent.viewer"],
    ("folder", "viewer"): ["parent.viewer"],
}
tuples = []


def subject(said):
    if "subject_id" in said:
        return {"subject_id": said["subject_id"]}
    names = ("namespace", "object", "relation")
    if any(f"subject_set.{name}" in said for name in names):
        return {"subject_set": {name: said.get(f"subject_set.{name}", "") for name in names}}
    return {}


def wanted(said):
    return {name: said[name] for name in ("namespace", "object", "relation") if name in said} | subject(said)


def matching(said):
    fields = wanted(said).items()
    return [one for one in tuples if all(one.get(name) == value for name, value in fields)]


def subjects(namespace, object, relation):
    found = matching({"namespace": namespace, "object": object, "relation": relation})
    return [{key: one[key]} for one in found for key in ("subject_id", "subject_set") if key in one]


def check(namespace, object, relation, asked, seen):
    if (namespace, object, relation) in seen:
        return False
    seen.add((namespace, object, relation))
    for one in subjects(namespace, object, relation):
        if one == asked:
            return True
        if "subject_set" in one and check(*one["subject_set"].values(), asked, seen):
            return True
    for rule in RULES.get((namespace, relation), []):
        if "." not in rule:
            if check(namespace, object, rule, asked, seen):
                return True
            continue
        way, then = rule.split(".")
        for one in subjects(namespace, object, way):
            parent = one.get("subject_set")
            if parent and check(parent["namespace"], parent["object"], then, asked, seen):
                return True
    return False


def expand(namespace, object, relation, depth):
    root = {"subject_set": {"namespace": namespace, "object": object, "relation": relation}}
    children = []
    for one in subjects(namespace, object, relation):
        if "subject_set" in one and depth > 1:
            children.append(expand(*one["subject_set"].values(), depth - 1))
        else:
            children.append({"type": "leaf", "tuple": one})
    return {"type": "union", "tuple": root, "children": children}


class Keto(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urlsplit(self.path)
        said = dict(parse_qsl(url.query, keep_blank_values=True))
        node = [said.get(name, "") for name in ("namespace", "object", "relation")]
        if url.path == "/relation-tuples":
            found, start = matching(said), int(said.get("page_token") or 0)
            end = start + min(int(said.get("page_size", PAGE_MAX)), PAGE_MAX)
            token = str(end) if end < len(found) else ""
            self.answer(200, {"relation_tuples": found[start:end], "next_page_token": token})
        elif url.path == "/relation-tuples/check":
            allowed = check(*node, subject(said), set())
            self.answer(200 if allowed else 403, {"allowed": allowed})
        elif url.path == "/relation-tuples/expand":
            self.answer(200, expand(*node, int(said.get("max-depth", 5))))
        else:
            self.answer(404, {"error": {"code": 404, "status": "Not Found"}})

    def do_PUT(self):
        one = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if one not in tuples:
            tuples.append(one)
        self.answer(201, one)

    def do_DELETE(self):
        said = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        for one in matching(said):
            tuples.remove(one)
        self.answer(204, None)

    def answer(self, status, what):
        body = b"" if what is None else json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Keto).serve_forever()
