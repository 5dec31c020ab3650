"""Shared by the drivers in this folder: peers, a Vestibule for each driver, a SCIM client, a browser without JavaScript.

Standard library only. The program under test is $VESTIBULE_BIN, or target/debug/vestibule.
"""

import atexit
import contextlib
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, urlencode, urljoin, urlsplit

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("VESTIBULE_BIN") or str(ROOT / "target/debug/vestibule")
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
FUSE_OFF = {"max_deletes_per_hour": 1_000_000}  # for targets that many users are removed from
PASSWORD = "correct horse battery staple 9"

signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the exit handlers stop all started processes


class Checks:
    """Prints one line per check and counts the results."""

    def __init__(self):
        self.passed, self.failed = 0, 0

    def that(self, name, holds, detail=""):
        if holds:
            self.passed += 1
            print(f"ok    {name}", flush=True)
        else:
            self.failed += 1
            print(f"FAIL  {name}: {str(detail)[:500]}" if detail != "" else f"FAIL  {name}", flush=True)
        return bool(holds)

    def finish(self):
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        sys.exit(1 if self.failed or not self.passed else 0)


def free_port():
    """Returns a free port, followed by three more free ports, because some peers listen on several."""
    while True:
        with contextlib.ExitStack() as held:
            port = 0
            try:
                for _ in range(4):
                    listener = held.enter_context(socket.socket())
                    listener.bind(("127.0.0.1", port))
                    port = listener.getsockname()[1] + 1
            except (OSError, OverflowError):
                continue
        return port - 4


def eventually(probe, seconds=30, pause=0.2):
    """Returns the first true value of `probe`, or its last value after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = probe()
        if value or time.monotonic() > end:
            return value
        time.sleep(pause)


def folder(name):
    """A temporary folder, removed at exit unless $KEEP is set. The database server, which runs as another user, may enter it."""
    path = Path(tempfile.mkdtemp(prefix=f"vestibule-{name}."))
    path.chmod(0o755)
    if os.environ.get("KEEP"):
        print(f"state is kept in {path}", flush=True)
    else:
        atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


# --- peers ------------------------------------------------------------------------------------


class Peer(dict):
    """A peer of scripts/peer: a dictionary of its facts. It is stopped at exit."""

    def __init__(self, name, path, port=None, **environment):
        super().__init__()
        self.path = Path(path) / name
        command = [str(ROOT / "scripts/peer"), name, str(self.path), str(port or free_port())]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
        if done.returncode:
            sys.exit(f"the peer {name} did not start")
        atexit.register(self.stop)
        self.update(re.findall(r"^(\w+)='(.*)'$", done.stdout, re.M))

    def stop(self):
        subprocess.run([str(ROOT / "scripts/peer"), "stop", str(self.path)], check=False)


def software(name):
    """The virtual environment in which scripts/peer has installed a client or a suite from PyPI."""
    done = subprocess.run([str(ROOT / "scripts/peer"), "install", name], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{name} could not be installed")
    return Path(re.search(r"^VENV='(.+)'$", done.stdout, re.M)[1])


def fetch(method, url, body=None, token=None, headers=None, timeout=30):
    """Sends one request; returns the status, the parsed or raw body, the headers."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=timeout)
    sent = {"Authorization": f"Bearer {token}"} if token else {}
    if body is not None and not isinstance(body, (str, bytes)):
        body = json.dumps(body)
        sent["Content-Type"] = "application/json"
    try:
        connection.request(method, parts.path + (f"?{parts.query}" if parts.query else ""), body, {**sent, **(headers or {})})
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    try:
        return answer.status, json.loads(text) if text else None, answer.headers
    except ValueError:
        return answer.status, text.decode(errors="replace"), answer.headers


def postgres_database(path):
    """Returns the URL of a new, empty database, on $VESTIBULE_TEST_POSTGRES_URL or else on a new server."""
    url = os.environ.get("VESTIBULE_TEST_POSTGRES_URL") or Peer("postgres", path)["POSTGRES_URL"]
    name = "t" + secrets.token_hex(6)
    subprocess.run(["psql", "-q", url, "-c", f"create database {name}"], check=True)
    return url.rsplit("/", 1)[0] + "/" + name


def database(kind, path):
    """Returns the URL of an empty database of `kind`, sqlite or postgres."""
    return f"sqlite:{path}/vestibule.db" if kind == "sqlite" else postgres_database(path)


# --- configuration ----------------------------------------------------------------------------


def toml(table):
    """Returns the lines of one TOML table; values are strings, numbers, booleans, lists and (inline) dictionaries."""
    return "\n".join(f"{key} = {toml_value(value)}" for key, value in table.items()) + "\n"


def toml_value(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {toml_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def upstream(peer, jit=None, **more):
    """The external OpenID provider as an identity provider called "upstream"."""
    table = {
        "name": "upstream", "kind": "oidc", "issuer": peer["OIDC_ISSUER"], "client_id": peer["OIDC_CLIENT_ID"],
        "client_secret": peer["OIDC_CLIENT_SECRET"], "scopes": ["openid", "email", "profile"], "allow_private_network": True, **more,
    }
    rule = {"mode": "silent", "userstore": "PRIMARY", "username": {"claim": "email"}, **(jit or {})}
    return f"[[identity_providers]]\n{toml(table)}[identity_providers.jit]\n{toml(rule)}"


def service_provider(name="wiki", **more):
    """A service provider; give redirect_uris, identity_providers, outbound and so on. Without redirect_uris it only provisions.
    Keys with the value None are left out, also those that have a default here."""
    table = {"name": name, "inbound_userstore": "PRIMARY", **more}
    if table.get("redirect_uris"):
        table = {"client_id": name, "client_secret": f"{name}-secret-0123456789abcdef", "local_login": True, **table}
    else:
        table.pop("redirect_uris", None)
    table = {key: value for key, value in table.items() if value is not None}
    return f"[[service_providers]]\n{toml(table)}"


def target(name, peer, **more):
    """A downstream SCIM target."""
    table = {"name": name, "connector": "scim", "base_url": peer["SCIM_URL"], "auth": {"bearer": peer["SCIM_TOKEN"]}, "allow_private_network": True, **more}
    return f"[[targets]]\n{toml(table)}"


def ldap_store(peer, **more):
    """A userstore called CORP in a directory of scripts/peer."""
    table = {
        "name": "CORP", "kind": "ldap", "url": peer["LDAP_URL"], "bind_dn": peer["LDAP_BIND_DN"], "bind_password": peer["LDAP_BIND_PASSWORD"],
        "user_base": f"ou=people,{peer['LDAP_BASE']}", "group_base": f"ou=groups,{peer['LDAP_BASE']}", "timeout": "2s", "watch": "1s", **more,
    }
    return f"[[userstores]]\n{toml(table)}"


# --- Vestibule ----------------------------------------------------------------------------------


class Vestibule:
    """One configured server in a folder; it runs there, so that relative paths stay in it."""

    def __init__(self, path, database_url, *sections, port=None):
        if not os.access(BINARY, os.X_OK):
            sys.exit(f"{BINARY} is missing: run cargo build, or set VESTIBULE_BIN")
        self.path, self.port, self.process = Path(path), port or free_port(), None
        self.url = f"http://127.0.0.1:{self.port}"
        self.config, self.log = self.path / "config.toml", self.path / "vestibule.log"
        head = "[server]\n" + toml({"listen": f"127.0.0.1:{self.port}", "public_url": self.url})
        head += "[database]\n" + toml({"url": database_url}) + "[[userstores]]\n" + toml({"name": "PRIMARY", "kind": "sql"})
        self.config.write_text("\n".join([head, *sections]))
        atexit.register(self.kill)

    def start(self, seconds=60):
        """Starts the server; returns the seconds until it was ready."""
        began = time.monotonic()
        with self.log.open("a") as log:
            self.process = subprocess.Popen([BINARY, "serve", "--config", str(self.config)], cwd=self.path, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        while True:
            if self.process.poll() is not None:
                sys.exit(f"the server ended with status {self.process.returncode} while it started:\n{self.tail()}")
            try:
                if fetch("GET", self.url + "/readyz", timeout=2)[0] == 200:
                    return time.monotonic() - began
            except OSError:
                pass
            if time.monotonic() - began > seconds:
                self.kill()
                sys.exit(f"the server was not ready after {seconds} s:\n{self.tail()}")
            time.sleep(0.01)

    def tail(self, lines=20):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self, how=signal.SIGKILL):
        """Stops the server: with SIGKILL, or with another signal, such as the SIGTERM of a service manager."""
        if self.alive():
            self.process.send_signal(how)
            self.process.wait(60)

    def command(self, *arguments):
        """Runs a subcommand with the same configuration; returns its exit status, standard output and standard error."""
        done = subprocess.run([BINARY, *arguments, "--config", str(self.config)], cwd=self.path, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout.strip(), done.stderr.strip()

    def scim(self, service_provider="wiki"):
        """A SCIM client with a new token of a service provider."""
        status, printed, problem = self.command("token", "create", "--service-provider", service_provider)
        if status or not printed:
            sys.exit(f"token create failed with status {status}: {problem}")
        return Scim(self.url + "/scim/v2", printed.splitlines()[-1].strip())

    def memory(self):
        """Resident memory in MiB."""
        return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())[1]) / 1024

    def memory_of_its_own(self):
        """Resident memory in MiB without the pages of files, such as the database's, which the operating system may reclaim."""
        return int(re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())[1]) / 1024


class Scim:
    """A SCIM client that keeps its connection open, for one thread."""

    def __init__(self, base, token):
        self.base, self.token, self.connection = base, token, None

    def twin(self):
        """Returns a client with the same token and its own connection."""
        return Scim(self.base, self.token)

    def request(self, method, path, body=None, headers=None, timeout=15):
        """Sends one request; returns the status, the parsed body, the headers. A broken connection raises OSError."""
        parts = urlsplit(self.base)
        sent = {"Authorization": f"Bearer {self.token}", "Accept": "application/scim+json", **(headers or {})}
        if body is not None:
            sent.setdefault("Content-Type", "application/scim+json")
            body = body if isinstance(body, (str, bytes)) else json.dumps(body)
        if self.connection is None:
            self.connection = http.client.HTTPConnection(parts.netloc, timeout=timeout)
        try:
            self.connection.request(method, parts.path + path, body, sent)
            answer = self.connection.getresponse()
            text = answer.read()
        except (http.client.HTTPException, OSError) as problem:
            self.close()
            raise OSError(str(problem)) from problem
        return answer.status, json.loads(text) if text else None, answer.headers

    def close(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    def find(self, path, attribute, value):
        """Returns the resources whose attribute has this value."""
        condition = quote(f"{attribute} eq {json.dumps(value)}")
        status, page, _ = self.request("GET", f"{path}?filter={condition}")
        if status != 200:
            raise AssertionError(f"the filter answered {status}: {page}")
        return page.get("Resources", [])


def user(name, **more):
    """A SCIM user."""
    given = name.split("@")[0].split(".")[0].capitalize()
    return {"schemas": [USER], "userName": name, "name": {"givenName": given, "familyName": "Tester"}, "active": True, **more}


def operations(*ops):
    """A SCIM PATCH body."""
    return {"schemas": [PATCH], "Operations": list(ops)}


# --- a browser ----------------------------------------------------------------------------------


class Page(HTMLParser):
    """The forms and links of a page."""

    def __init__(self, url, status, text):
        super().__init__()
        self.url, self.status, self.text, self.forms, self.links = url, status, text, [], []
        self.form, self.inside, self.onward = None, None, None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        a = {name: value or "" for name, value in attributes}
        if tag == "form":
            self.form = {"action": urljoin(self.url, a.get("action", "")), "method": a.get("method", "get").upper(), "fields": {}, "types": {}, "buttons": []}
            self.forms.append(self.form)
        elif tag == "meta" and a.get("http-equiv", "").lower() == "refresh":
            self.onward = urljoin(self.url, a.get("content", "").partition("url=")[2])
        elif tag == "a" and "href" in a:
            self.inside = {"href": urljoin(self.url, a["href"]), "text": ""}
            self.links.append(self.inside)
        elif tag == "button" and self.form is not None:
            self.inside = {"name": a.get("name"), "value": a.get("value", ""), "action": a.get("formaction"), "text": ""}
            if a.get("type", "submit") == "submit":
                self.form["buttons"].append(self.inside)
        elif tag == "input" and self.form is not None:
            kind = a.get("type", "text")
            if kind == "submit":
                self.form["buttons"].append({"name": a.get("name"), "value": a.get("value", ""), "action": a.get("formaction"), "text": a.get("value", "")})
            elif a.get("name") and (kind not in ("checkbox", "radio") or "checked" in a):
                self.form["fields"][a["name"]] = a.get("value", "")
                self.form["types"][a["name"]] = kind

    def handle_data(self, data):
        if self.inside is not None:
            self.inside["text"] += data

    def handle_endtag(self, tag):
        if tag == "form":
            self.form = None
        if tag in ("a", "button"):
            self.inside = None


class Browser:
    """Follows redirects, keeps cookies per host and port, submits forms; runs no scripts."""

    def __init__(self):
        self.cookies = {}

    def request(self, method, url, data=None, headers=None):
        """Sends one request without following redirects; returns the status, the Location, the body."""
        parts = urlsplit(url)
        jar = self.cookies.setdefault(parts.netloc, {})
        sent = {"Accept": "text/html", "Cookie": "; ".join(f"{k}={v}" for k, v in jar.items()), **(headers or {})}
        if not jar:
            sent.pop("Cookie")
        body = None
        if method == "POST":
            body, sent["Content-Type"] = urlencode(data or {}), "application/x-www-form-urlencoded"
            sent["Origin"] = f"{parts.scheme}://{parts.netloc}"
        connection = http.client.HTTPConnection(parts.netloc, timeout=60)
        try:
            connection.request(method, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), body, sent)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        finally:
            connection.close()
        for header in answer.headers.get_all("Set-Cookie") or []:
            self.keep(jar, header)
        place = answer.headers.get("Location")
        return answer.status, urljoin(url, place) if place else None, text

    @staticmethod
    def keep(jar, header):
        name, _, value = header.split(";")[0].partition("=")
        over = re.search(r"max-age=(-?\d+)", header, re.I)
        if (over and int(over[1]) <= 0) or "01 jan 1970" in header.lower():
            jar.pop(name.strip(), None)
        else:
            jar[name.strip()] = value

    def walk(self, url, until, account, password, through="upstream"):
        """Follows redirects and fills in forms from `url` on, until a redirect to an address that starts with `until`.

        `through` names the identity provider to choose on Vestibule's pages; None logs in with the local password.
        Returns that address (not fetched), or the Page that cannot be continued: an error, or a question for a password
        when `password` is empty.
        """
        method, data = "GET", None
        for _ in range(20):
            status, place, text = self.request(method, url, data)
            page = Page(url, status, text)
            place = place or page.onward
            if place:
                if place.startswith(until):
                    return place
                method, url, data = "GET", place, None
                continue
            step = self.answer(page, account, password, through) if status < 400 else None
            if step is None:
                return page
            method, url, data = step
        raise AssertionError(f"no end of redirects at {url}")

    @staticmethod
    def answer(page, account, password, through):
        local = next((f for f in page.forms if "password" in f["types"].values()), None)
        if through:
            for form in page.forms:
                for button in form["buttons"]:
                    if through in f"{form['action']} {button['name']} {button['value']} {button['action']} {button['text']}".lower():
                        return submit(form, button)
            for link in page.links:
                if through in f"{link['href']} {link['text']}".lower():
                    return "GET", link["href"], None
        if local and not password:
            return None
        if local:
            fields = {}
            for name, kind in local["types"].items():
                fields[name] = password if kind == "password" else account if kind in ("text", "email") else local["fields"][name]
            return submit({**local, "fields": fields}, local["buttons"][0] if local["buttons"] else None)
        for form in page.forms:
            for button in form["buttons"]:
                if not re.search(r"cancel|deny|refuse|decline|log ?out|sign ?out", f"{button['text']} {button['value']}", re.I):
                    return submit(form, button)
        return None


def submit(form, button):
    fields = dict(form["fields"])
    if button and button["name"]:
        fields[button["name"]] = button["value"]
    action = urljoin(form["action"], button["action"]) if button and button["action"] else form["action"]
    if form["method"] == "GET":
        return "GET", action.split("?")[0] + "?" + urlencode(fields), None
    return "POST", action, fields
