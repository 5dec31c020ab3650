#!/usr/bin/env python3
"""The benchmark: Vestibule on SQLite and on PostgreSQL beside a bare server that does the same work in the same run.

run.py --limit PROGRAM [--users 100500] [--sizes 1000,1000500] [--seconds 4] [--rounds 3] [--write]

Each line is the median of the rounds, in which the bare server and Vestibule take turns. CPU is that of the server, with PostgreSQL's
where it is used, per request, from /proc: it hardly moves when something else uses the machine; requests per second do.

The first 5000 users come through SCIM. More are copies, in SQL, of what the product wrote for the first one: its row and its index
rows under other names and ids. The journal of copies is left out. `--sizes` measures SCIM again at other sizes, for the cost by size.
"""

import argparse
import base64
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import quote, urlencode

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests/peers"))
from rig import FUSE_OFF, GROUP, USER, Browser, Peer, Vestibule, eventually, fetch, folder, free_port, operations, postgres_database, service_provider, target, upstream  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")
DOCUMENT = HERE.parent / "docs/performance.md"
VERIFIER = "a" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
BACK = "http://127.0.0.1:9/callback"
PATCH_ON = json.dumps(operations({"op": "replace", "path": "active", "value": True}))
PATCH_OFF = json.dumps(operations({"op": "replace", "path": "active", "value": False}))
ADD = json.dumps(operations({"op": "add", "path": "members", "value": [{"value": "{id}"}]}))
REMOVE = json.dumps(operations({"op": "remove", "path": 'members[value eq "{id}"]'}))


def document(name, **more):
    """A user of about 1 kB, as large as clients send them."""
    return {
        "schemas": [USER], "userName": name, "name": {"familyName": "Adams", "givenName": "Ann", "formatted": "Ann Adams"}, "displayName": "Ann Adams",
        "title": "Site Reliability Engineer", "locale": "en-US", "timezone": "Europe/Berlin", "active": True,
        "emails": [{"value": name, "type": "work", "primary": True}, {"value": "home." + name, "type": "home"}],
        "phoneNumbers": [{"value": "+49-30-1234567", "type": "work"}, {"value": "+49-171-7654321", "type": "mobile"}],
        "addresses": [{"type": "work", "streetAddress": "12 Main Street", "locality": "Berlin", "postalCode": "10115", "country": "DE"}], **more,
    }


# --- measuring ----------------------------------------------------------------------------------


def cpu(roots):
    """Processor seconds of these processes and all below them, those that ended included."""
    parents, used, waited = {}, {}, {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                text = Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            fields = text[text.rindex(")") + 2:].split()
            pid = int(entry)
            parents[pid], used[pid], waited[pid] = int(fields[1]), int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])

    def within(pid):
        while pid in parents:
            if pid in roots:
                return True
            pid = parents[pid]
        return False

    return (sum(used[pid] for pid in used if within(pid)) + sum(waited.get(pid, 0) for pid in roots)) / TICK


class Server:
    """Something to load: its address, the processes that work for it, a token and the rows to ask for."""

    def __init__(self, url, pids, rows, token=""):
        self.url, self.pids, self.rows, self.token = url, pids, rows, token


def wrk(server, method, path, connections, seconds, body=None, body2=None, rows=None):
    """One run of wrk: requests per second, CPU in microseconds per request, latencies in ms."""
    environment = {**os.environ, "METHOD": method, "TARGET": path, "TOKEN": server.token, "ROWS": str(rows or server.rows), "TAG": f"{time.time_ns():x}"}
    environment.update({name: text for name, text in {"BODY": body, "BODY2": body2}.items() if text})
    before = cpu(server.pids)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "-s", str(HERE / "load.lua"), server.url]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    used = cpu(server.pids) - before
    found = re.search(r"RESULT (.*)", done.stdout)
    if not found:
        sys.exit(f"wrk failed: {done.stdout}{done.stderr}")
    result = json.loads(found[1])
    if result["refused"] + result["broken"] > result["requests"] // 100:
        sys.exit(f"{method} {path}: {result['refused']} requests were refused and {result['broken']} broke, of {result['requests']}")
    return {"rate": result["requests"] / result["seconds"], "cpu": used / max(result["requests"], 1) * 1e6, "p50": result["p50"], "p99": result["p99"]}


def median(runs):
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


class Table:
    """The lines of one database."""

    def __init__(self, database, users, options):
        self.database, self.users, self.options, self.lines, self.kept = database, users, options, [], {}

    def compare(self, work, limit, ours):
        """Runs both in turn; `limit` may be None, or the name of an earlier line to stand beside."""
        runs = [(limit() if callable(limit) else None, ours()) for _ in range(self.options.rounds)]
        measured = median([mine for _, mine in runs])
        bare = median([bare for bare, _ in runs]) if callable(limit) else self.kept.get(limit)
        self.kept[work] = measured
        self.add(work, bare, measured)

    def add(self, work, bare, ours):
        self.lines.append((work, bare, ours))
        beside = f"   limit {bare['rate']:9.0f}/s {bare['cpu']:8.1f} us   CPU ratio {ours['cpu'] / bare['cpu']:.2f}" if bare else ""
        print(f"{self.database:10} {work:44} {ours['rate']:9.0f}/s {ours['cpu']:8.1f} us{beside}", flush=True)

    def markdown(self):
        text = f"### {self.database}, {number(self.users)} users\n\n| work | limit, requests/s | limit, CPU | Vestibule, requests/s | CPU | p99 | CPU ÷ limit | rate ÷ limit |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n"
        for work, bare, ours in self.lines:
            left = f"{number(bare['rate'])} | {microseconds(bare['cpu'])}" if bare else "– | –"
            right = f"{ours['cpu'] / bare['cpu']:.2f} | {ours['rate'] / bare['rate']:.2f}" if bare else "– | –"
            text += f"| {work} | {left} | {number(ours['rate'])} | {microseconds(ours['cpu'])} | {ours['p99']:.1f} ms | {right} |\n"
        return text


def by_size(tables):
    """CPU at each size, and beside the limit of the same size."""
    tables = sorted(tables, key=lambda table: table.users)
    text = f"### {tables[0].database}, cost by size\n\n| CPU of Vestibule, ÷ limit at this size | " + " | ".join(f"{number(table.users)} users" for table in tables)
    text += " |\n| --- |" + " --- |" * len(tables) + "\n"
    measured = [{work: (bare, ours) for work, bare, ours in table.lines} for table in tables]
    for work in measured[-1]:
        cells = []
        for lines in measured:
            bare, ours = lines.get(work, (None, None))
            cells.append("–" if not ours else microseconds(ours["cpu"]) + (f", {ours['cpu'] / bare['cpu']:.2f}" if bare else ""))
        text += f"| {work} | " + " | ".join(cells) + " |\n"
    text += "| start | " + " | ".join(f"{table.start * 1000:.0f} ms" for table in tables) + " |\n"
    return text + "| resident memory at the end, the database's file aside | " + " | ".join(f"{table.memory:.0f} MiB" for table in tables) + " |\n"


def number(value):
    return f"{value:,.0f}".replace(",", " ")


def microseconds(value):
    return f"{value:.0f} µs" if value < 10_000 else f"{value / 1000:.1f} ms"


# --- the work -----------------------------------------------------------------------------------


def seed(scim, count, path):
    """Creates `count` users from eight connections; writes "id name" lines and gives the ids in the order of creation."""
    ids, lock, problems = {}, threading.Lock(), []

    def work(first):
        client = scim.twin()
        for n in range(first, count, 8):
            name = f"u{n}@example.com"
            status, made, _ = client.request("POST", "/Users", document(name))
            if status != 201:
                problems.append((status, made))
                return
            with lock:
                ids[n] = made["id"]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        sys.exit(f"seeding was answered {problems[0]}")
    path.write_text("".join(f"{ids[n]} u{n}@example.com\n" for n in range(count)))
    return [ids[n] for n in range(count)]


SEEDED = 5000
CHUNK = 20_000
# What a copy is called, by its number n. {id} is as a UUIDv7 of the moment n ms after the template was made.
FIRST = "store = 'PRIMARY' AND kind = 'User' AND key = 'u0@example.com'"
MOMENT = f"((SELECT created FROM resources WHERE {FIRST}) + n)"
COPIES = """
INSERT INTO resources (id, store, kind, name, key, external_id, active, created, modified, version, writers, document)
{series} SELECT {id}, store, kind, {name_of}, {key_of}, external_id, active, created + n, modified + n, version, {writers_of}, {document_of}
FROM resources, series WHERE {first};
INSERT INTO attribute_values (path, value, resource_id)
{series} SELECT path, {value_of}, {id} FROM attribute_values, series
WHERE resource_id = (SELECT id FROM resources WHERE {first});
"""


def copies(postgres, start, end):
    """The statements that copy the first user to the numbers from `start` up to `end`."""
    if postgres:
        series = f"WITH series(n) AS (SELECT generate_series({start}, {end - 1}))"
        identity = f"lpad(to_hex({MOMENT} >> 16), 8, '0') || '-' || lpad(to_hex({MOMENT} & 65535), 4, '0') || '-7000-8000-' || lpad(to_hex(n), 12, '0')"
    else:
        series = f"WITH RECURSIVE series(n) AS (SELECT {start} UNION ALL SELECT n + 1 FROM series WHERE n < {end - 1})"
        identity = f"printf('%08x-%04x-7000-8000-%012x', {MOMENT} >> 16, {MOMENT} & 65535, n)"
    renamed = {f"{column}_of": f"replace({column}, 'u0@', 'u' || n || '@')" for column in ["name", "key", "writers", "document", "value"]}
    return COPIES.format(first=FIRST, series=series, id=identity, **renamed)


def copy_users(address, first, end, path):
    """Copies the first user in SQL, telling how far it is; gives the ids in order."""
    postgres = address.startswith("postgres")
    base = None if postgres else sqlite3.connect(address.removeprefix("sqlite:"), timeout=60, isolation_level=None)
    for start in range(first, end, CHUNK):
        statements = copies(postgres, start, min(start + CHUNK, end))
        if postgres:
            subprocess.run(["psql", "-q", "-v", "ON_ERROR_STOP=1", address, "-c", statements], check=True)
        else:
            base.executescript(f"BEGIN IMMEDIATE; {statements} COMMIT;")
        if (start - first) // CHUNK % 10 == 9:
            print(f"  {start + CHUNK} users", flush=True)
    query = "SELECT id, key FROM resources WHERE kind = 'User' ORDER BY id"
    if postgres:
        # As autovacuum does in daily life.
        subprocess.run(["psql", "-q", address, "-c", "SET client_min_messages = error", "-c", "VACUUM ANALYZE"], check=True)
        rows = subprocess.run(["psql", "-qAt", "-F", " ", address, "-c", query], check=True, capture_output=True, text=True).stdout
    else:
        rows = "".join(f"{row[0]} {row[1]}\n" for row in base.execute(query))
        base.close()
    path.write_text(rows)
    return [line.split(" ")[0] for line in rows.splitlines()]


def make_group(scim, name, members):
    _, group, _ = scim.request("POST", "/Groups", {"schemas": [GROUP], "displayName": name})
    for start in range(0, len(members), 1000):
        body = operations({"op": "add", "path": "members", "value": [{"value": member} for member in members[start:start + 1000]]})
        status, problem, _ = scim.request("PATCH", f"/Groups/{group['id']}", body, timeout=120)
        if status not in (200, 204):
            sys.exit(f"adding members was answered {status} {problem}")
    return group["id"]


def deep_cursor(ours, middle):
    """The cursor behind the first `middle` users."""
    cursor, passed = "", 0
    while passed < middle:
        query = urlencode({"cursor": cursor, "count": min(1000, middle - passed), "attributes": "id"})
        status, page, _ = fetch("GET", f"{ours.url}/scim/v2/Users?{query}", headers={"Authorization": f"Bearer {ours.token}"}, timeout=60)
        if status != 200:
            sys.exit(f"a page by cursor was answered {status} {page}")
        cursor, passed = page["nextCursor"], passed + len(page["Resources"])
    return cursor


def scim_lines(table, bare, ours, users, options):
    """What SCIM clients do, at the size of the store."""
    seconds, middle = options.seconds, users // 2
    at = "/scim/v2/Users"

    def pair(work, connections, limit, request):
        table.compare(work, lambda: wrk(bare, connections=connections, seconds=seconds, **limit), lambda: wrk(ours, connections=connections, seconds=seconds, **request))

    def get(path):
        return {"method": "GET", "path": path}

    patch = {"body": PATCH_OFF, "body2": PATCH_ON}
    pair("ServiceProviderConfig (limit: a ready answer)", 8, get("/fixed"), get("/scim/v2/ServiceProviderConfig"))
    pair("get by id (limit: read by primary key)", 8, get("/rows/{id}"), get(at + "/{id}"))
    pair("get by id, 64 connections", 64, get("/rows/{id}"), get(at + "/{id}"))
    pair("filter userName eq (limit: read by an index)", 8, get("/names/{name}"), get(at + "?filter=" + quote('userName eq "') + "{name}" + quote('"')))
    pair("list, first page of 100", 8, get("/pages/0"), get(at + "?count=100"))
    pair("list, page of 100 in the middle, by index", 8, get(f"/pages/{middle:036}"), get(at + f"?startIndex={middle}&count=100"))
    pair("list, page of 100 in the middle, by cursor", 8, get(f"/pages/{middle:036}"), get(f"{at}?count=100&cursor={quote(deep_cursor(ours, middle))}"))
    pair("PATCH one attribute, 64 connections", 64, {"method": "PATCH", "path": "/rows/{id}", **patch}, {"method": "PATCH", "path": at + "/{id}", **patch})
    created = json.dumps(document("{n}@example.com"))
    pair("create, 64 connections (limit: group commit)", 64, {"method": "POST", "path": "/rows", "body": created}, {"method": "POST", "path": at, "body": created})
    pair("create, 1 connection", 1, {"method": "POST", "path": "/rows", "body": created}, {"method": "POST", "path": at, "body": created})


def group_lines(table, ours, scim, ids, path, options):
    """One member more or less, in small and in large groups; the small one is the limit of the others."""
    extra = path / "extra"
    pool = ids[-500:]
    extra.write_text("".join(f"{rid} -\n" for rid in pool))
    first = None
    for size in (10, 10_000, 100_000):
        if size + 500 > len(ids):
            break
        group = make_group(scim, f"group of {size}", ids[:size])
        work = f"add or remove a member of {number(size)}"
        table.compare(work, first, lambda: wrk(ours, "PATCH", f"/scim/v2/Groups/{group}", 8, options.seconds, ADD, REMOVE, extra))
        first = first or work


class Logins:
    """Whole federated logins of known people, from several browsers at once."""

    def __init__(self, server, threads=4):
        self.server, self.browsers = server, [Browser() for _ in range(threads)]

    def once(self, browser, fresh):
        if fresh:
            browser.cookies.pop(f"127.0.0.1:{self.server.port}", None)
        query = {
            "client_id": "wiki", "response_type": "code", "redirect_uri": BACK, "scope": "openid email", "state": "bench-state", "nonce": "bench-nonce",
            "code_challenge": CHALLENGE, "code_challenge_method": "S256", "idp_hint": "upstream",
        }
        place = browser.walk(f"{self.server.url}/oauth2/authorize?{urlencode(query)}", BACK, "alice@example.com", "alice-at-upstream")
        if not isinstance(place, str) or "code=" not in place:
            sys.exit(f"a login did not come to its end: {getattr(place, 'text', place)}")
        code = re.search(r"[?&]code=([^&]+)", place)[1]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "code_verifier": VERIFIER, "client_id": "wiki", "client_secret": "wiki-secret-0123456789abcdef"}
        status, tokens, _ = fetch("POST", self.server.url + "/oauth2/token", urlencode(form), headers={"Content-Type": "application/x-www-form-urlencoded"})
        if status != 200:
            sys.exit(f"the token endpoint answered {status} {tokens}")

    def run(self, pids, seconds, fresh):
        took, end, before = [], time.monotonic() + seconds, cpu(pids)

        def work(browser):
            while time.monotonic() < end:
                began = time.monotonic()
                self.once(browser, fresh)
                took.append((time.monotonic() - began) * 1000)

        threads = [threading.Thread(target=work, args=(browser,)) for browser in self.browsers]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wall, used = time.monotonic() - began, cpu(pids) - before
        if not took:
            sys.exit("no login came to its end")
        took.sort()
        return {"rate": len(took) / wall, "cpu": used / len(took) * 1e6, "p50": took[len(took) // 2], "p99": took[int(len(took) * 0.99)]}


def login_lines(table, server, pids, options):
    logins = Logins(server)
    for browser in logins.browsers:
        logins.once(browser, True)
    table.compare("federated login of a known person (CPU: ours alone)", None, lambda: logins.run(pids, options.seconds, True))
    table.compare("single sign-on, code and token", None, lambda: logins.run(pids, options.seconds, False))


MODES = ["silent", "consent", "password_consent", "username_password_consent"]
NEW_PASSWORD = "correct horse battery staple"


class FirstLogins(Logins):
    """Whole first logins in one mode: each makes an account of somebody new, who agrees to what they are asked."""

    def __init__(self, server, peer, mode, people=1500):
        super().__init__(server)
        self.mode, self.numbers, self.lock = mode, iter(range(people)), threading.Lock()
        for n in range(people):
            claims = {"password": NEW_PASSWORD, "email": f"{mode}{n}@example.com", "email_verified": True, "given_name": "Ann", "family_name": "Adams", "name": "Ann Adams"}
            fetch("PUT", f"{peer['OIDC_CONTROL']}/accounts/{mode}-{n}", json.dumps(claims))

    def once(self, browser, fresh):
        with self.lock:
            n = next(self.numbers, None)
        if n is None:
            sys.exit("there were not enough people for the first logins")
        browser.cookies.clear()
        query = {
            "client_id": "wiki", "response_type": "code", "redirect_uri": BACK, "scope": "openid email", "state": "bench-state",
            "code_challenge": CHALLENGE, "code_challenge_method": "S256", "idp_hint": self.mode,
        }
        through = "agree and continue" if self.mode == "consent" else None
        place = browser.walk(f"{self.server.url}/oauth2/authorize?{urlencode(query)}", BACK, f"{self.mode}{n}@example.com", NEW_PASSWORD, through)
        if not isinstance(place, str) or "code=" not in place:
            sys.exit(f"a first login did not come to its end: {getattr(place, 'text', place)}")


def measure_logins(kind, options):
    """First logins by mode, and logins of known people, on a database of their own."""
    path, port = folder("bench"), free_port()
    postgres = Peer("postgres", path, DURABLE="1") if kind == "postgres" else None
    if postgres:
        os.environ["VESTIBULE_TEST_POSTGRES_URL"] = postgres["POSTGRES_URL"]
    peer = Peer("oidc-provider", path, REDIRECT_URIS=",".join(f"http://127.0.0.1:{port}/federation/{name}/callback" for name in ["upstream", *MODES]))
    providers = [upstream(peer), *(upstream(peer, {"mode": mode}, name=mode) for mode in MODES)]
    application = service_provider(redirect_uris=[BACK], identity_providers=["upstream", *MODES], local_login=False)
    server = Vestibule(path, postgres_database(path) if postgres else f"sqlite:{path}/vestibule.db", *providers, application, port=port)
    try:
        server.start()
        table = Table("PostgreSQL" if postgres else "SQLite", 0, options)
        pids = [server.process.pid, *([int(postgres["POSTGRES_PID"])] if postgres else [])]
        for mode in MODES:
            first = FirstLogins(server, peer, mode)
            table.compare(f"first login, {mode}", None, lambda first=first: first.run(pids, options.seconds, True))
        login_lines(table, server, pids, options)
        return table
    finally:
        server.kill()
        if postgres:
            postgres.stop()


def outbound_line(table, bare, scim, pids, count):
    """How fast `count` new users reach a target that answers at once."""
    pushed = lambda: int(fetch("GET", bare.url + "/pushes")[1])  # noqa: E731
    start, clients, before, began = pushed(), [scim.twin() for _ in range(8)], cpu(pids), time.monotonic()

    def work(number):
        for n in range(number, count, 8):
            clients[number].request("POST", "/Users", document(f"push{n}@example.com"))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    created = time.monotonic() - began
    if not eventually(lambda: pushed() - start >= count, 120, 0.02):
        sys.exit(f"only {pushed() - start} of {count} users were pushed in two minutes")
    wall, used = time.monotonic() - began, cpu(pids) - before
    table.add("create and push to a target", None, {"rate": count / wall, "cpu": used / count * 1e6, "p50": 0, "p99": (wall - created) * 1000})


def measure(kind, users, options, whole):
    """All lines on one database of `users`; of the smaller and larger ones those of SCIM alone."""
    path, port = folder("bench"), free_port()
    postgres = Peer("postgres", path, DURABLE="1") if kind == "postgres" else None
    if postgres:
        os.environ["VESTIBULE_TEST_POSTGRES_URL"] = postgres["POSTGRES_URL"]
    below = [int(postgres["POSTGRES_PID"])] if postgres else []
    limit_port = free_port()
    limit_url = postgres_database(path) if postgres else f"sqlite:{path}/limit.db"
    program = subprocess.Popen([options.limit, "--serve", str(limit_port), limit_url, str(users)])
    try:
        bare = Server(f"http://127.0.0.1:{limit_port}", [program.pid, *below], path / "bare")
        bare.rows.write_text("".join(f"{n:036} u{n}@example.com\n" for n in range(users)))
        peer = Peer("oidc-provider", path, REDIRECT_URIS=f"http://127.0.0.1:{port}/federation/upstream/callback")
        sections = [
            upstream(peer), service_provider(redirect_uris=[BACK], identity_providers=["upstream"]),
            service_provider("pusher", outbound=[{"target": "sink"}]), target("sink", {"SCIM_URL": bare.url + "/scim/v2", "SCIM_TOKEN": "sink-token"}, **FUSE_OFF),
        ]
        address = postgres_database(path) if postgres else f"sqlite:{path}/vestibule.db"
        server = Vestibule(path, address, *sections, port=port)
        server.start()
        table, scim = Table("PostgreSQL" if postgres else "SQLite", users, options), server.scim()
        print(f"{table.database}: making {users} users", flush=True)
        ids = seed(scim, min(users, SEEDED), path / "ours")
        if users > SEEDED:
            ids = copy_users(address, SEEDED, users, path / "ours")
        elif postgres:
            subprocess.run(["psql", "-q", address, "-c", "SET client_min_messages = error", "-c", "VACUUM ANALYZE"], check=True)
        if not eventually(lambda: fetch_ready(bare.url), 600):
            sys.exit("the bare server did not become ready")
        server.kill(signal.SIGTERM)
        table.start = server.start()
        pids = [server.process.pid, *below]
        ours = Server(server.url, pids, path / "ours", scim.token)
        scim_lines(table, bare, ours, users, options)
        group_lines(table, ours, scim.twin(), ids, path, options)
        if whole:
            login_lines(table, server, pids, options)
            outbound_line(table, bare, server.scim("pusher"), pids, options.pushes)
        table.memory = server.memory_of_its_own()
        print(f"{table.database}: started in {table.start:.2f} s; {table.memory:.0f} MiB resident at the end, the database's file aside", flush=True)
        server.kill()
        return table
    finally:
        program.kill()
        program.wait()
        for file in path.glob("*.db*"):
            file.unlink()
        if postgres:
            postgres.stop()
            shutil.rmtree(postgres.path, ignore_errors=True)


def fetch_ready(url):
    try:
        return fetch("GET", url + "/pushes")[0] == 200
    except OSError:
        return False


def write(tables):
    """Puts the tables of one database between its markers of the document."""
    first, *others = tables
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) // (1 << 20)
    text = first.markdown() + f"\n{os.cpu_count()} processors ({model[1] if model else platform.machine()}), {memory} GiB, {time.strftime('%Y-%m-%d')}; users of "
    text += f"about 1 kB; the load program ran on the same processors.\nStarted in {first.start * 1000:.0f} ms; {first.memory:.0f} MiB resident at the end, "
    text += "the database's file aside.\n" + ("\n" + by_size(tables) if others else "")
    write_between(first.database, text)


def write_between(name, text):
    begin, end = (f"<!-- bench:{name}:{place} -->" for place in ("begin", "end"))
    head, rest = DOCUMENT.read_text().split(begin, 1)
    DOCUMENT.write_text(f"{head}{begin}\n{text.strip()}\n{end}{rest.split(end, 1)[1]}")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--limit", required=True, help="the bare server")
    options.add_argument("--users", type=int, default=100_500)
    options.add_argument("--sizes", type=lambda text: [int(size) for size in text.split(",")], default=[], help="other numbers of users, for the cost by size")
    options.add_argument("--seconds", type=int, default=4)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--pushes", type=int, default=5000)
    options.add_argument("--database", choices=["sqlite", "postgres", "both"], default="both")
    options.add_argument("--logins", action="store_true", help="measure logins alone, by mode")
    options.add_argument("--write", action="store_true", help="write the tables into docs/performance.md")
    options = options.parse_args()
    kinds = ["sqlite", "postgres"] if options.database == "both" else [options.database]
    for kind in kinds if options.logins else []:
        table = measure_logins(kind, options)
        text = "\n".join(line for line in table.markdown().split("\n")[2:])
        print(text)
        if options.write:
            write_between(f"{table.database} logins", text)
    for kind in [] if options.logins else kinds:
        tables = [measure(kind, users, options, users == options.users) for users in [options.users, *options.sizes]]
        print(tables[0].markdown() + "\n" + by_size(tables))
        if options.write:
            write(tables)


if __name__ == "__main__":
    main()
