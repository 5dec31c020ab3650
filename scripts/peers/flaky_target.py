#!/usr/bin/env python3
"""A SCIM 2.0 target that fails on purpose: flaky_target.py PORT LEDGER

It keeps users and groups in memory and writes one JSON line per request to LEDGER before it answers, so that the ledger
tells what arrived, how often and in which order, also if the server was killed meanwhile.

POST /control/faults {"rules": [{"match": "POST .*/Users", "do": "500", "p": 0.3, "times": 5}]}
  match   regular expression over "METHOD PATH"; p probability (1); times the number of requests (unlimited)
  do      a status code | 429:SECONDS and 503:SECONDS with Retry-After | drop: close before any work |
          ate: do the work, then close without an answer | hang:SECONDS, then close | slow:MILLISECONDS until
          it answers | late:MILLISECONDS until it does the work |
          html: do the work, answer 200 with HTML | unfiltered: ignore the filter of a list
GET /control/state     {"requests": n, "Users": {...}, "Groups": {...}}
DELETE /control/state  forget everything
"""
import json
import random
import re
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

TOKEN = "scim-token"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
NAME_OF = {"Users": "userName", "Groups": "displayName"}
LOCK = threading.Lock()


class Refused(Exception):
    def __init__(self, status, scim_type=None):
        super().__init__(status)
        self.status, self.scim_type = status, scim_type


class Store:
    """Resources of one kind, with an index by name."""

    def __init__(self, kind):
        self.name, self.rows, self.names = NAME_OF[kind], {}, {}

    def key(self, row):
        return str(row.get(self.name, "")).casefold()

    def put(self, rid, row):
        key = self.key(row)
        if not key:
            raise Refused(400, "invalidValue")
        if self.names.get(key, rid) != rid:
            raise Refused(409, "uniqueness")
        if rid in self.rows:
            self.names.pop(self.key(self.rows[rid]), None)
        self.rows[rid], self.names[key] = row, rid
        return row

    def get(self, rid):
        if rid not in self.rows:
            raise Refused(404)
        return self.rows[rid]

    def delete(self, rid):
        self.names.pop(self.key(self.get(rid)), None)
        del self.rows[rid]

    def find(self, text):
        if not text:
            return list(self.rows.values())
        comparison = re.fullmatch(r'\s*(\w+)\s+eq\s+("(?:[^"\\]|\\.)*")\s*', text, re.I)
        if not comparison:
            raise Refused(400, "invalidFilter")
        attribute, value = comparison[1], str(json.loads(comparison[2]))
        if attribute.lower() == self.name.lower():
            rid = self.names.get(value.casefold())
            return [self.rows[rid]] if rid else []
        exact = attribute.lower() in ("id", "externalid")
        fold = str if exact else (lambda x: str(x).casefold())
        wanted = {"id": "id", "externalid": "externalId"}.get(attribute.lower(), attribute)
        return [r for r in self.rows.values() if wanted in r and fold(r[wanted]) == fold(value)]


def stores():
    return {kind: Store(kind) for kind in NAME_OF}


STORES, RULES, COUNT = stores(), [], [0]


def patch(row, operations):
    """Applies PATCH operations to a copy: plain and dotted paths, no path, members with a value filter."""
    row = json.loads(json.dumps(row))
    for operation in operations:
        verb, path, value = str(operation.get("op", "")).lower(), operation.get("path"), operation.get("value")
        if verb not in ("add", "replace", "remove"):
            raise Refused(400, "invalidSyntax")
        if path is None:
            if not isinstance(value, dict):
                raise Refused(400, "invalidValue")
            for name, one in value.items():
                apply(row, verb, name, one)
        else:
            apply(row, verb, path, value)
    return row


def apply(row, verb, path, value):
    chosen = re.fullmatch(r'(\w+)\[\s*(\w+)\s+eq\s+("(?:[^"\\]|\\.)*")\s*\](?:\.(\w+))?', path, re.I)
    if chosen:
        return apply_filtered(row, verb, chosen, value)
    target, name = row, path
    urn = re.fullmatch(r"(urn:.*:[A-Z]\w+)(?::(.+))?", path)
    if urn:
        if not urn[2]:
            return set_attribute(row, verb, path, value)
        target, name = row.setdefault(urn[1], {}), urn[2]
    if "." in name:
        parent, name = name.split(".", 1)
        target = target.setdefault(parent, {})
    return set_attribute(target, verb, name, value)


def apply_filtered(row, verb, chosen, value):
    attribute, key, wanted, sub = chosen[1], chosen[2], json.loads(chosen[3]), chosen[4]
    elements = row.get(attribute, [])
    if verb == "remove" and not sub:
        row[attribute] = [e for e in elements if str(e.get(key)) != wanted]
        return
    hits = [e for e in elements if str(e.get(key)) == wanted]
    if not hits:
        hits = [{key: wanted}]
        row.setdefault(attribute, []).extend(hits)
    for element in hits:
        if sub:
            set_attribute(element, verb, sub, value)
        else:
            element.update(value)


def set_attribute(target, verb, name, value):
    if verb == "remove":
        if isinstance(value, list) and isinstance(target.get(name), list):
            gone = {e.get("value") for e in value}
            target[name] = [e for e in target[name] if e.get("value") not in gone]
        else:
            target.pop(name, None)
    elif verb == "add" and isinstance(target.get(name), list):
        new = value if isinstance(value, list) else [value]
        held = {json.dumps(e.get("value", e)) if isinstance(e, dict) else json.dumps(e) for e in target[name]}
        for element in new:
            mark = json.dumps(element.get("value", element)) if isinstance(element, dict) else json.dumps(element)
            if mark not in held:
                held.add(mark)
                target[name].append(element)
    elif isinstance(value, dict) and isinstance(target.get(name), dict):
        target[name].update(value)
    else:
        target[name] = value


def work(method, kind, rid, query, body):
    """Carries out one SCIM request; returns the status and the answer."""
    store = STORES[kind]
    if method == "GET" and rid:
        return 200, store.get(rid)
    if method == "GET":
        rows = store.find(query.get("filter", [""])[0])
        start, count = int(query.get("startIndex", ["1"])[0]), int(query.get("count", ["100"])[0])
        page = rows[start - 1:start - 1 + count]
        return 200, {"schemas": [LIST], "totalResults": len(rows), "startIndex": start, "itemsPerPage": len(page), "Resources": page}
    if method == "POST":
        rid = uuid.uuid4().hex
        return 201, store.put(rid, {**body, "id": rid})
    if method == "PUT":
        store.get(rid)
        return 200, store.put(rid, {**body, "id": rid})
    if method == "PATCH":
        return 200, store.put(rid, {**patch(store.get(rid), body.get("Operations", [])), "id": rid})
    if method == "DELETE":
        store.delete(rid)
        if kind == "Users":
            for group in STORES["Groups"].rows.values():
                group["members"] = [m for m in group.get("members", []) if m.get("value") != rid]
        return 204, None
    raise Refused(405)


def pick_fault(line):
    for rule in RULES:
        if rule.get("times", 1) > 0 and re.search(rule["match"], line) and random.random() < rule.get("p", 1):
            if "times" in rule:
                rule["times"] -= 1
            return str(rule["do"])
    return ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, *_):
        pass

    def answer(self, status, value=None, kind="application/scim+json", headers=()):
        body = b"" if value is None else value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, text in headers:
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def refuse(self, status, scim_type=None, headers=()):
        error = {"schemas": [ERROR], "status": str(status)}
        self.answer(status, {**error, "scimType": scim_type} if scim_type else error, headers=headers)

    def handle_request(self):
        try:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        except ValueError:
            return self.refuse(400, "invalidSyntax")
        url = urlsplit(self.path)
        if url.path.startswith("/control/"):
            return self.control(url.path, body)
        return self.scim(url, body)

    def control(self, path, body):
        global STORES
        with LOCK:
            if path == "/control/faults":
                RULES[:] = body["rules"]
            elif self.command == "DELETE":
                STORES = stores()
            state = {"requests": COUNT[0], **{kind: store.rows for kind, store in STORES.items()}}
            text = json.dumps(state if path == "/control/state" else {"rules": RULES}).encode()
        return self.answer(200, text, "application/json")

    def scim(self, url, body):
        fault, _, argument = pick_fault(f"{self.command} {self.path}").partition(":")
        place = re.fullmatch(r"/scim/v2/(Users|Groups)(?:/([^/]+))?", url.path)
        does = fault in ("", "ate", "slow", "late", "html", "unfiltered")
        query = {} if fault == "unfiltered" else parse_qs(url.query)
        authorised = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        status, result = (int(fault), None) if fault.isdigit() else (0, None)
        if fault == "late":
            time.sleep(float(argument) / 1000)
        with LOCK:
            COUNT[0] += 1
            if does:
                try:
                    if not authorised:
                        raise Refused(401)
                    if url.path == "/scim/v2/ServiceProviderConfig":
                        status, result = 200, configuration()
                    elif place:
                        status, result = work(self.command, place[1], place[2], query, body)
                    else:
                        raise Refused(404)
                except Refused as refused:
                    status, result = refused.status, refused.scim_type
            done = does and status < 400
            encoded = json.dumps(result).encode() if done and result is not None else result
            line = {
                "n": COUNT[0], "at": time.time(), "method": self.command, "path": self.path, "fault": fault, "did": done,
                "status": status, "id": result.get("id") if isinstance(result, dict) else None, "body": body,
            }
            LEDGER.write(json.dumps(line) + "\n")
        return self.reply(fault, argument, status, encoded)

    def reply(self, fault, argument, status, result):
        if fault == "slow":
            time.sleep(float(argument) / 1000)
        if fault == "hang":
            time.sleep(float(argument))
        if fault in ("drop", "ate", "hang"):
            self.close_connection = True
            return self.connection.close()
        if fault == "html":
            return self.answer(200, b"<html><body>All is well.</body></html>", "text/html")
        if fault.isdigit():
            return self.refuse(status, headers=[("Retry-After", argument)] if argument else [])
        if status >= 400:
            return self.refuse(status, result)
        return self.answer(status, result)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_request


def configuration():
    off = {"supported": False}
    return {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": {"supported": True}, "bulk": {**off, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": True, "maxResults": 1000}, "changePassword": off, "sort": off, "etag": off,
        "authenticationSchemes": [{"type": "oauthbearertoken", "name": "Bearer", "description": "A bearer token"}],
    }


class Server(ThreadingHTTPServer):
    request_queue_size = 512
    daemon_threads = True


if __name__ == "__main__":
    LEDGER = open(sys.argv[2], "a", buffering=1)
    Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
