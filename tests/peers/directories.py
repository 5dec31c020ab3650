#!/usr/bin/env python3
"""A userstore in OpenLDAP: what clients, logins and other tools write there, and what its failures do.

Changes by other tools reach a target. A directory that stops, hangs or has a wrong certificate affects only its own users. A
server that is killed between a write in the directory and its own record of it recovers the intent at the next start.
"""

import os
import re
import secrets
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from contextlib import closing
from urllib.parse import urlencode

from first_logins import RETURN, Login
from outbound import Target
from rig import GROUP, PASSWORD, Browser, Checks, Peer, Vestibule, database, eventually, fetch, folder, free_port, ldap_store, operations, service_provider, target, upstream, user

PEOPLE, GROUPS = "ou=people,dc=example,dc=com", "ou=groups,dc=example,dc=com"
ADD, MODIFY, DELETE, RENAME, EXTENDED = 0x68, 0x66, 0x4A, 0x6C, 0x77


class Directory:
    """The directory, accessed with OpenLDAP's tools."""

    def __init__(self, path):
        self.path, self.port = path, free_port()
        self.peer = Peer("openldap", path, self.port)

    def tool(self, name, *arguments, text=None, as_dn=None, password=None):
        who = as_dn or self.peer["LDAP_BIND_DN"], password or self.peer["LDAP_BIND_PASSWORD"]
        command = [name, "-x", "-H", f"ldap://127.0.0.1:{self.port}", "-D", who[0], "-w", who[1], *arguments]
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=20)

    def change(self, ldif):
        done = self.tool("ldapmodify", "-a", text=ldif)
        if done.returncode:
            raise AssertionError(done.stderr)

    def entry(self, base, condition):
        """Returns the attributes of the only entry that matches a filter; None if there is not exactly one."""
        done = self.tool("ldapsearch", "-LLL", "-o", "ldif-wrap=no", "-b", base, condition, "*", "pwdAccountLockedTime")
        entries = [block for block in done.stdout.strip().split("\n\n") if block]
        if len(entries) != 1:
            return None
        attributes = {}
        for name, value in re.findall(r"^([\w;-]+):+ ?(.*)$", entries[0], re.M):
            attributes.setdefault(name, []).append(value)
        return attributes

    def person(self, uid):
        return self.entry(PEOPLE, f"(uid={uid})")

    def opens(self, dn, password):
        return self.tool("ldapwhoami", as_dn=dn, password=password).returncode == 0

    def certificate(self, subject, of_authority):
        """Installs another certificate; returns a function that restores the right one."""
        home = self.path / "openldap"
        right = {name: (home / name).read_bytes() for name in ("cert.pem", "key.pem")}
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3", "-subj", "/CN=other"]
        command += ["-addext", f"subjectAltName={subject}", "-keyout", str(home / "key.pem"), "-out", str(home / "cert.pem")]
        if of_authority:
            command += ["-addext", "basicConstraints=critical,CA:FALSE", "-CA", str(home / "ca.pem"), "-CAkey", str(home / "ca-key.pem")]
        subprocess.run(command, check=True, capture_output=True)
        return lambda: [(home / name).write_bytes(text) for name, text in right.items()]

    def pid(self):
        return int((self.path / "openldap/pid").read_text())

    def stop(self):
        self.peer.stop()

    def start(self):
        self.peer = Peer("openldap", self.path, self.port)


class Wire:
    """A proxy between a server and the directory. It can withhold an answer after the directory has carried out the operation."""

    def __init__(self, to):
        self.to, self.keep, self.kept, self.refuse = to, None, threading.Event(), False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            if self.refuse:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                client.close()
                continue
            held = threading.Event()
            threading.Thread(target=self.requests, args=(client, server, held), daemon=True).start()
            threading.Thread(target=self.answers, args=(server, client, held), daemon=True).start()

    def requests(self, client, server, held):
        try:
            while data := client.recv(65536):
                if self.keep is not None and operation(data) == self.keep:
                    held.set()
                server.sendall(data)
        except OSError:
            pass
        server.close()

    def answers(self, server, client, held):
        try:
            while data := server.recv(65536):
                if held.is_set():
                    self.kept.set()
                    continue
                client.sendall(data)
        except OSError:
            pass
        client.close()


def operation(message):
    """The tag of the operation in an LDAP message (RFC 4511 §4.1.1)."""
    at = 2 + (message[1] & 0x7F if message[1] & 0x80 else 0)
    return message[at + 2 + message[at + 1]]


def inbound(checks, scim, directory):
    """A SCIM client whose store is the directory."""
    mail = [{"value": "ann@example.com", "type": "work", "primary": True}]
    status, ann, _ = scim.request("POST", "/Users", user("ann", emails=mail, password=PASSWORD, nickName="Annie"))
    entry = directory.person("ann") or {}
    checks.that("a created user is an entry", status == 201 and entry.get("mail") == ["ann@example.com"] and entry.get("givenName") == ["Ann"], entry)
    checks.that("the id is the entryUUID", ann["id"] == (directory.tool("ldapsearch", "-LLL", "-b", PEOPLE, "(uid=ann)", "entryUUID").stdout.split("entryUUID: ")[-1].strip()))
    checks.that("the user can bind with the password", directory.opens(entry["dn"][0], PASSWORD))
    checks.that("an attribute without an LDAP counterpart is kept", scim.request("GET", f"/Users/{ann['id']}")[1].get("nickName") == "Annie")
    scim.request("PATCH", f"/Users/{ann['id']}", operations({"op": "replace", "path": "title", "value": "Engineer (lead), \"R&D\" * \\"}))
    checks.that("a changed attribute changes the entry", directory.person("ann").get("title") == ["Engineer (lead), \"R&D\" * \\"], directory.person("ann"))
    scim.request("PATCH", f"/Users/{ann['id']}", operations({"op": "replace", "path": "userName", "value": "ann, lee+1"}))
    renamed = directory.entry(PEOPLE, "(uid=ann, lee\\2b1)")
    checks.that("a rename renames the entry and keeps the id", renamed and scim.find("/Users", "userName", "ann, lee+1")[0]["id"] == ann["id"], renamed)
    scim.request("PATCH", f"/Users/{ann['id']}", operations({"op": "replace", "path": "active", "value": False}))
    locked = directory.entry(PEOPLE, "(uid=ann, lee\\2b1)")
    checks.that("a deactivation locks the entry", "pwdAccountLockedTime" in locked and not directory.opens(locked["dn"][0], PASSWORD), locked)
    status, group, _ = scim.request("POST", "/Groups", {"schemas": [GROUP], "displayName": "staff", "members": [{"value": ann["id"]}]})
    checks.that("a group holds its members' names", directory.entry(GROUPS, "(cn=staff)").get("member", [""])[0].endswith(PEOPLE), directory.entry(GROUPS, "(cn=staff)"))
    directory.change(f"dn: uid=dee,{PEOPLE}\nobjectClass: inetOrgPerson\nuid: dee\ncn: Dee Dee\nsn: Dee\nmail: dee@example.com\n")
    found = scim.find("/Users", "emails.value", "dee@example.com")
    checks.that("an entry added by another tool is found at once", [one["userName"] for one in found] == ["dee"], found)
    status, refused, _ = scim.request("POST", "/Users", user("DEE"))
    checks.that("a name that is taken in the directory is 409", status == 409 and refused.get("scimType") == "uniqueness", refused)
    _, page, _ = scim.request("GET", "/Users?count=0")
    checks.that("totalResults counts the entries", page["totalResults"] == 2, page)
    scim.request("DELETE", f"/Users/{ann['id']}")
    checks.that("a deleted user has no entry and is in no group", not directory.entry(PEOPLE, "(uid=ann, lee\\2b1)") and scim.request("GET", f"/Groups/{group['id']}")[1].get("members") in (None, []))
    status, page, _ = scim.request("GET", "/Users?" + urlencode({"filter": 'userName eq "*)(uid=*"'}))
    checks.that("filter metacharacters match no user", status == 200 and page["totalResults"] == 0, page)


def others(checks, directory, place):
    """Changes by other tools arrive at the target of the directory's service provider."""
    directory.change(f"dn: uid=eve,{PEOPLE}\nobjectClass: inetOrgPerson\nuid: eve@example.com\ncn: Eve\nsn: Eve\nmail: eve@example.com\n".replace("uid=eve,", "uid=eve@example.com,"))
    checks.that("a user added by another tool arrives", eventually(lambda: place.user("eve@example.com")))
    directory.change(f"dn: uid=eve@example.com,{PEOPLE}\nchangetype: modify\nreplace: title\ntitle: Baker\n")
    checks.that("a change by another tool arrives", eventually(lambda: place.user("eve@example.com").get("title") == "Baker"), place.user("eve@example.com"))
    directory.change(f"dn: cn=crew,{GROUPS}\nobjectClass: groupOfNames\ncn: crew\nmember: uid=eve@example.com,{PEOPLE}\n")
    checks.that("a group added by another tool arrives with its member", eventually(lambda: place.holds("crew", "eve@example.com")))
    directory.change(f"dn: uid=eve@example.com,{PEOPLE}\nchangetype: delete\n")
    checks.that("a user deleted by another tool is removed", eventually(lambda: not place.user("eve@example.com")))


def logins(checks, server, directory):
    """A first login makes an entry; a local login binds."""
    login = Login(server, "wiki-secret-0123456789abcdef")
    login.until_callback("alice@example.com")
    login.finish()
    entry = directory.person("alice@example.com") or {}
    checks.that("a first login makes an entry", login.outcome == "in" and entry.get("mail") == ["alice@example.com"], (login.outcome, entry))
    again = Login(server, "wiki-secret-0123456789abcdef")
    again.until_callback("alice@example.com")
    again.finish()
    checks.that("the next login is the same person", again.outcome == "in" and again.subject == login.subject, again.outcome)

    def local(password):
        query = {"client_id": "wiki", "response_type": "code", "redirect_uri": RETURN, "scope": "openid", "state": "s", "code_challenge": "x" * 43, "code_challenge_method": "S256"}
        end = Browser().walk(f"{server.url}/oauth2/authorize?{urlencode(query)}", RETURN, "dee", password, through=None)
        return isinstance(end, str) and "code=" in end

    done = directory.tool("ldappasswd", "-s", PASSWORD, f"uid=dee,{PEOPLE}")
    checks.that("a password of the directory signs in", done.returncode == 0 and local(PASSWORD), done.stderr)
    directory.change(f"dn: uid=dee,{PEOPLE}\nchangetype: modify\nreplace: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z\n")
    try:
        locked = local(PASSWORD)
    except AssertionError:
        locked = False
    checks.that("an account locked in the directory cannot sign in", not locked)


def primary_answers(scim, count=200):
    """Returns how many of `count` pairs of requests to PRIMARY, a create and a read, succeed."""
    answered = 0
    for _ in range(count):
        created, one, _ = scim.request("POST", "/Users", user(secrets.token_hex(6)))
        if created == 201 and scim.request("GET", f"/Users/{one['id']}")[0] == 200:
            answered += 1
    return answered


def asks(scim, stop):
    """Requests users of the directory repeatedly, until told to stop."""
    while not stop.is_set():
        try:
            scim.request("GET", "/Users?count=1")
        except OSError:
            pass
        stop.wait(0.05)


def faults(checks, server, directory):
    """A directory that hangs or is down delays no other userstore, and the server needs no restart afterwards."""
    corp, primary = server.scim("hr"), server.scim("office")
    _, before, _ = corp.request("GET", "/Users?count=0")

    def works():
        status, page, _ = corp.twin().request("GET", "/Users?count=0")
        return status == 200 and page["totalResults"] == before["totalResults"]

    stop = threading.Event()
    askers = [threading.Thread(target=asks, args=(corp.twin(), stop), daemon=True) for _ in range(4)]
    for asker in askers:
        asker.start()
    os.killpg(directory.pid(), signal.SIGSTOP)
    time.sleep(3)
    checks.that("a hung directory does not delay PRIMARY", primary_answers(primary.twin()) == 200)
    status, refused, headers = corp.twin().request("GET", "/Users?count=0")
    checks.that("a hung directory is 503 with Retry-After", status == 503 and headers["Retry-After"], (status, refused))
    os.killpg(directory.pid(), signal.SIGCONT)
    checks.that("it works again by itself", eventually(works, 15))
    directory.stop()
    status, refused, _ = corp.twin().request("POST", "/Users", user("nobody"))
    checks.that("a stopped directory is 503", status == 503, refused)
    checks.that("a stopped directory does not delay PRIMARY", primary_answers(primary.twin()) == 200)
    status, ready, _ = fetch("GET", server.url + "/readyz")
    checks.that("the server stays ready and says what is down", status == 200 and ready["status"] == "degraded" and ready["checks"]["userstore CORP"] == "down", ready)
    directory.start()
    checks.that("a restarted directory works again by itself", eventually(works, 15))
    stop.set()
    for name, subject, of_authority in [("of another authority", "IP:127.0.0.1", False), ("for another address", "IP:127.0.0.2", True)]:
        directory.stop()
        undo = directory.certificate(subject, of_authority)
        directory.start()
        checks.that(f"a certificate {name} is not trusted", eventually(lambda: corp.twin().request("GET", "/Users?count=0")[0] == 503, 10) and "does not answer" in server.tail(50))
        directory.stop()
        undo()
        directory.start()
        checks.that("with the right one it works again by itself", eventually(works, 15))
    checks.that("no user was created meanwhile", directory.person("nobody") is None)


def killed(checks, path, directory):
    """A server killed after a write in the directory and before its own record recovers the intent at the next start, once."""
    path = path / "killed"
    path.mkdir()
    wire = Wire(directory.port)
    server = Vestibule(path, database("sqlite", path), ldap_store(directory.peer, url=f"ldap://127.0.0.1:{wire.port}", timeout="20s"), service_provider("hr", inbound_userstore="CORP"))
    server.start()
    scim = server.scim("hr")
    _, kit, _ = scim.request("POST", "/Users", user("kit"))
    _, team, _ = scim.request("POST", "/Groups", {"schemas": [GROUP], "displayName": "team"})
    place = f"/Users/{kit['id']}"
    replace = lambda path, value: operations({"op": "replace", "path": path, "value": value})
    cases = [
        ("a create", ADD, ("POST", "/Users", user("new", nickName="Newt")), lambda: (scim.find("/Users", "userName", "new") or [{}])[0].get("nickName") == "Newt"),
        ("a change", MODIFY, ("PATCH", place, replace("title", "Pilot")), lambda: scim.request("GET", place)[1].get("title") == "Pilot"),
        ("a rename", RENAME, ("PATCH", place, replace("userName", "kitty")), lambda: scim.request("GET", place)[1].get("userName") == "kitty"),
        ("a join", MODIFY, ("PATCH", f"/Groups/{team['id']}", operations({"op": "add", "path": "members", "value": [{"value": kit["id"]}]})),
            lambda: [m["value"] for m in scim.request("GET", f"/Groups/{team['id']}")[1].get("members", [])] == [kit["id"]]),
        ("a delete", DELETE, ("DELETE", place, None), lambda: scim.request("GET", place)[0] == 404),
    ]
    for name, tag, request, holds in cases:
        wire.kept.clear()
        wire.keep = tag
        sender = threading.Thread(target=lambda: swallow(scim.twin(), request), daemon=True)
        sender.start()
        done = wire.kept.wait(10)
        server.kill()
        sender.join(10)
        wire.keep = None
        server.start()
        scim = Vestibule.scim(server, "hr")
        settled = eventually(holds, 40)
        checks.that(f"{name} that was interrupted is recovered", done and settled, server.tail(5))
        checks.that(f"{name} that was interrupted leaves no intent behind", eventually(lambda: count(path, "intents") == 0, 40))
    journal = count(path, "journal")
    # The journal also has the removal of the deleted user from the group.
    checks.that("each change is in the journal once", journal == 8, journal)
    server.kill()


def count(path, table):
    with closing(sqlite3.connect(path / "vestibule.db")) as connection:
        return connection.execute(f"select count(*) from {table}").fetchone()[0]


def swallow(scim, request):
    try:
        scim.request(*request, timeout=30)
    except OSError:
        pass


def main():
    checks, path = Checks(), folder("directories")
    directory = Directory(path)
    port = free_port()
    provider = Peer("oidc-provider", path, REDIRECT_URIS=f"http://127.0.0.1:{port}/federation/upstream/callback")
    flaky = Peer("flaky-target", path)
    server = Vestibule(
        path, database("sqlite", path), ldap_store(directory.peer, service_provider="hr", start_tls=True, ca_file=directory.peer["LDAP_CA"]), upstream(provider, {"userstore": "CORP"}),
        service_provider("hr", inbound_userstore="CORP", outbound=[{"target": "chat"}]), service_provider("office"),
        service_provider("wiki", inbound_userstore="CORP", redirect_uris=[RETURN], identity_providers=["upstream"]), target("chat", flaky), port=port,
    )
    server.start()
    time.sleep(2)
    inbound(checks, server.scim("hr"), directory)
    others(checks, directory, Target(flaky))
    logins(checks, server, directory)
    faults(checks, server, directory)
    checks.that("the log has no panic and no password", not re.search(r"panicked|vestibule-at-openldap", server.log.read_text(errors="replace")) and PASSWORD not in server.log.read_text(errors="replace"))
    server.kill()
    killed(checks, path, directory)
    checks.finish()


if __name__ == "__main__":
    main()
