#!/usr/bin/env python3
"""No input takes the server down: bad_input.py [--database sqlite|postgres] sends malformed, huge, deeply nested and hostile SCIM requests.

Each must be answered with a SCIM error of the 4xx kind (or, where nothing is wrong with it, with success), quickly; nothing may
be written, and the server must be alive with bounded memory at the end.
"""

import argparse
import json
import socket
from urllib.parse import quote

from rig import GROUP, Checks, Vestibule, database, folder, operations, service_provider, user

ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
DEEP = 100_000


def raw(server, data, patience=10, more=b""):
    """Sends bytes as they are; returns the status, the headers and the body of the answer. Status 0: closed without an answer."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=patience) as s:
        s.settimeout(patience)
        answer = b""
        try:
            s.sendall(data)
            if more:
                s.sendall(more)
        except OSError:
            pass  # the server may close before it has read everything
        try:
            while chunk := s.recv(65536):
                answer += chunk
                head, found, body = answer.partition(b"\r\n\r\n")
                length = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
                if found and length and len(body) >= length[0]:
                    break
        except ConnectionResetError:
            pass
        except TimeoutError:
            return -1, b"", b"no answer in time"
    if not answer:
        return 0, b"", b""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head, body


class Prober:
    def __init__(self, checks, server, scim):
        self.checks, self.server, self.scim = checks, server, scim

    def send(self, method, path, body=b"", headers=()):
        """Sends a request built by hand, with the token, that closes the connection."""
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {self.scim.token}", "Connection: close", *headers]
        if body and not any(h.lower().startswith("content-length") for h in headers):
            lines.append(f"Content-Length: {len(body)}")
        if not any(h.lower().startswith("content-type") for h in headers):
            lines.append("Content-Type: application/scim+json")
        return raw(self.server, "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n", more=body)

    def refused(self, name, method, path, body=b"", headers=(), statuses=range(400, 500), scim_error=True):
        """Checks that the request is refused with one of the statuses, as a SCIM error. A server that hangs is a failed request."""
        status, head, answer = self.send(method, "/scim/v2" + path, body if isinstance(body, bytes) else body.encode(), headers)
        good = status in statuses
        if good and scim_error:
            try:
                error = json.loads(answer)
                good = ERROR in error["schemas"] and str(error["status"]) == str(status) and b"application/scim+json" in head.lower()
            except (ValueError, KeyError, TypeError):
                good = False
        self.checks.that(name, good, f"{status} {answer[:200]!r}")

    def survives(self, name, method, path, body=b"", headers=()):
        """Checks that the request succeeds or is refused, and does not fail inside the server."""
        status, _, answer = self.send(method, "/scim/v2" + path, body if isinstance(body, bytes) else body.encode(), headers)
        self.checks.that(name, 200 <= status < 500, f"{status} {answer[:200]!r}")


def bodies(probe):
    for name, body in {
        "an empty body": b"",
        "half a JSON object": b'{"schemas":',
        "text after the JSON": b'{"userName":"x"} tail',
        "a JSON array": b"[]",
        "a JSON string": b'"user"',
        "JSON null": b"null",
        "a number out of range": b'{"userName":"x","a":1e999999}',
        "bytes that are not UTF-8": b'{"userName":"\xff\xfe"}',
        "a lone surrogate": b'{"userName":"\\ud800"}',
        "UTF-16": json.dumps(user("x")).encode("utf-16"),
        "a byte order mark and nothing": b"\xef\xbb\xbf",
        "arrays nested too deep": b"[" * DEEP + b"]" * DEEP,
        "objects nested too deep": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
        "a user nested too deep": b'{"userName":"x","name":' + b'{"a":' * DEEP + b"1" + b"}" * (DEEP + 1),
    }.items():
        probe.refused(f"POST /Users refuses {name}", "POST", "/Users", body)
    probe.refused("POST /Users refuses a body of 20 MiB", "POST", "/Users", b'{"userName":"' + b"a" * (20 << 20) + b'"}', statuses=[400, 413])
    probe.refused("POST /Users refuses a Content-Length of 1 TiB", "POST", "/Users", b"{", headers=[f"Content-Length: {1 << 40}"], statuses=[400, 413])
    probe.refused("POST /Users refuses another content type", "POST", "/Users", json.dumps(user("nobody")), headers=["Content-Type: text/xml"], statuses=[400, 415])


def values(probe):
    for number, (name, more) in enumerate({
        "no userName": {"userName": None},
        "an empty userName": {"userName": ""},
        "a userName of blanks": {"userName": "   "},
        "a userName with NUL": {"userName": "a\0b"},
        "a userName with a line feed": {"userName": "a\nb"},
        "a userName that changes the writing direction": {"userName": "a\u202eb"},
        "a userName that is an object": {"userName": {"a": 1}},
        "a userName of a million letters": {"userName": "a" * 1_000_000},
        "a name that is text": {"name": "Ann"},
        "e-mails that are a number": {"emails": 7},
        "an e-mail value that is a list": {"emails": [{"value": ["a", "b"]}]},
        "an active that is a list": {"active": [True, False]},
        "an active that is no boolean": {"active": "maybe"},
        "schemas that are text of another type": {"schemas": GROUP},
        "the schema of another type": {"schemas": [GROUP]},
    }.items()):
        body = {key: value for key, value in {**user(f"bad{number}@example.com"), **more}.items() if value is not None}
        probe.refused(f"POST /Users refuses {name}", "POST", "/Users", json.dumps(body))
    probe.refused("POST /Groups refuses members that are text", "POST", "/Groups", json.dumps({"schemas": [GROUP], "displayName": "g", "members": "x"}))
    probe.refused("POST /Groups refuses a member that is a list", "POST", "/Groups", json.dumps({"schemas": [GROUP], "displayName": "g", "members": [{"value": ["a", "b"]}]}))


def filters(probe):
    for name, text in {
        "an empty comparison": "userName eq",
        "an unknown operator": 'userName like "x"',
        "an open string": 'userName eq "x',
        "an open parenthesis": '(userName eq "x"',
        "a semicolon": 'userName eq "x"; drop table resources',
        "an SQL tautology": "userName eq 'x' or 1=1",
        "an attribute path of dots": "....... eq 1",
        "a value filter that never ends": 'emails[type eq "work"',
        "a comparison of a boolean by order": "active gt true",
        "fifty nots": "not (" * 50 + "userName pr" + ")" * 49,
    }.items():
        probe.refused(f"the filter refuses {name}", "GET", "/Users?filter=" + quote(text))
    parentheses = "(" * DEEP + "userName pr" + ")" * DEEP
    search = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": parentheses}
    probe.refused("the filter of a search refuses 100,000 parentheses", "POST", "/Users/.search", json.dumps(search))
    probe.refused("the filter of a search refuses 100,000 nots", "POST", "/Users/.search", json.dumps({**search, "filter": "not (" * DEEP + "userName pr" + ")" * DEEP}))
    probe.refused("the filter of a URL refuses 5,000 parentheses", "GET", "/Users?filter=" + "(" * 5000 + "userName%20pr" + ")" * 5000)
    probe.refused("a URL of 200,000 letters is refused", "GET", "/Users?filter=" + "a" * 200_000, scim_error=False)
    probe.refused("a search refuses 100,000 terms", "POST", "/Users/.search", json.dumps({**search, "filter": " or ".join(['userName eq "a"'] * DEEP)}))
    probe.survives("a NUL in a filter value is harmless", "GET", "/Users?filter=" + quote('userName eq "a\0b"'))
    probe.survives("a broken percent sign is harmless", "GET", "/Users?filter=%zz%")
    probe.survives("percent signs and underscores are only letters", "GET", "/Users?filter=" + quote('userName co "%_%"'))
    for query in ["count=-1", "startIndex=-5", "count=99999999999999999999", "startIndex=x", "sortBy=id;--", "sortBy=password", "sortOrder=up", "attributes=" + "a," * 20000, "cursor=AAAA", "attributes=..&excludedAttributes=[["]:
        probe.survives(f"the query {query[:40]} is harmless", "GET", "/Users?" + query)
    for name, more in {
        "a filter that is a number": {"filter": 5}, "a count that is a list": {"count": [1]}, "attributes that are objects": {"attributes": [{}]}, "a start that is text": {"startIndex": "x"},
    }.items():
        probe.refused(f"a search refuses {name}", "POST", "/.search", json.dumps({**search, "filter": "id pr", **more}))
    probe.refused("a search with GET is refused", "GET", "/Users/.search", statuses=[405])
    probe.survives("a search for a million attributes is harmless", "POST", "/.search", json.dumps({"attributes": ["userName,USERNAME"] * 200_000}))


def patches(probe, rid):
    for name, body in {
        "no operations": {"Operations": None},
        "operations that are text": {"Operations": "add"},
        "an unknown op": {"Operations": [{"op": "move", "path": "title", "value": "x"}]},
        "a path that cannot be read": {"Operations": [{"op": "add", "path": "emails[", "value": "x"}]},
        "a path of 100,000 parentheses": {"Operations": [{"op": "add", "path": "emails[" + "(" * DEEP + 'type eq "x"' + ")" * DEEP + "]", "value": "x"}]},
        "a remove without a path": {"Operations": [{"op": "remove"}]},
        "a wrong type": {"Operations": [{"op": "replace", "path": "active", "value": {"a": 1}}]},
        "an attribute that does not exist": {"Operations": [{"op": "add", "path": "nothing.at.all", "value": 1}]},
        "a change of id": {"Operations": [{"op": "replace", "path": "id", "value": "other"}]},
    }.items():
        probe.refused(f"PATCH refuses {name}", "PATCH", f"/Users/{rid}", json.dumps({"schemas": operations()["schemas"], **body}))
    half = operations({"op": "replace", "path": "title", "value": "half"}, {"op": "replace", "path": "active", "value": {"no": 1}})
    probe.refused("PATCH refuses all when one operation is wrong", "PATCH", f"/Users/{rid}", json.dumps(half))
    bulk = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
    probe.refused("a bulk request of 100,000 operations is refused", "POST", "/Bulk", json.dumps({"schemas": [bulk], "Operations": [{"method": "DELETE", "path": "/Users/x"}] * DEEP}), statuses=[400, 413, 501])
    probe.refused("a bulk request refuses text as operations", "POST", "/Bulk", json.dumps({"schemas": [bulk], "Operations": "x"}), statuses=[400, 501])


def places(probe, rid):
    for path in ["/Nothing", "/Users/nobody", "/Users/" + "a" * 5000, "/Users/%00", "/Users/%2e%2e%2fGroups", "/Users/../Users/x", f"/Users/{rid}/extra", "/Schemas/none", "/ResourceTypes/none", "/Users/%ff%fe"]:
        probe.refused(f"GET {path[:40]} is a SCIM error", "GET", path, statuses=[400, 404, 414])
    probe.refused("an unknown method is refused", "BREW", "/Users", statuses=[400, 404, 405, 501])
    probe.refused("PUT on the collection is refused", "PUT", "/Users", json.dumps(user("x")), statuses=[404, 405])
    for name, header in {
        "no scheme": "Authorization: token", "an empty token": "Authorization: Bearer ", "two spaces": "Authorization: Bearer  x  y", "basic": "Authorization: Basic eDp5",
        "bytes": "Authorization: Bearer \xff\xfe", "10,000 letters": "Authorization: Bearer " + "a" * 10_000,
    }.items():
        data = f"GET /scim/v2/Users HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{header}\r\n\r\n".encode("latin-1")
        status, _, answer = raw(probe.server, data)
        probe.checks.that(f"an Authorization with {name} is 401 or 400", status in (400, 401), f"{status} {answer[:100]!r}")
    for name, header in {"If-Match": "If-Match: ]][[", "Range": "Range: bytes=9-1,-", "Accept": "Accept: \x01;q=9", "a header of 200 kB": "X-Long: " + "a" * 200_000, "Accept-Encoding": "Accept-Encoding: ;;;q=x"}.items():
        probe.survives(f"garbage in {name} is harmless", "GET", f"/Users/{rid}", headers=[header])
    for name, data in {
        "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "a header without a colon": b"GET / HTTP/1.1\r\nnonsense\r\n\r\n",
        "two lengths": b"POST /scim/v2/Users HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "a chunk of negative size": b"POST /scim/v2/Users HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    }.items():
        status, _, answer = raw(probe.server, data, patience=6)
        probe.checks.that(f"{name} gets no 5xx", status < 500, f"{status} {answer[:100]!r}")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    options = options.parse_args()
    checks, path = Checks(), folder("bad")
    server = Vestibule(path, database(options.database, path), service_provider())
    server.start()
    scim = server.scim()
    status, alice, _ = scim.request("POST", "/Users", user("alice@example.com", title="Queen"))
    checks.that("a valid user is created", status == 201, (status, alice))
    before, memory = scim.request("GET", "/Users")[1], server.memory()
    probe = Prober(checks, server, scim)
    bodies(probe)
    values(probe)
    filters(probe)
    patches(probe, alice["id"])
    places(probe, alice["id"])
    checks.that("the server is alive", server.alive(), server.tail())
    scim.close()
    checks.that("nothing was written", scim.request("GET", "/Users")[1] == before and not scim.request("GET", "/Groups")[1]["totalResults"])
    growth = server.memory() - memory
    checks.that("memory grew by less than 150 MiB", growth < 150, f"{growth:.0f} MiB")
    log = server.log.read_text(errors="replace")
    checks.that("the log has no panic and no token", "panicked" not in log and scim.token not in log)
    checks.finish()


if __name__ == "__main__":
    main()
