#!/usr/bin/env python3
"""Fifty browsers of one person come back from the external provider at the same moment for the first time.

There must be one user, one link, and no failure inside the server; also when a SCIM client creates that user in between.
"""

import argparse
import base64
import collections
import hashlib
import json
import secrets
import sqlite3
import subprocess
import sys
import threading
import time
from urllib.parse import parse_qs, urlencode, urlsplit

from rig import Browser, Checks, Page, Peer, Vestibule, database, fetch, folder, free_port, service_provider, upstream, user

RETURN = "http://127.0.0.1:9/callback"  # no server listens there: the rig reads the redirect
PEOPLE = {"alice@example.com": "alice-at-upstream", "bob@example.com": "bob-at-upstream", "carol@example.com": "carol-at-upstream"}


class Login:
    """One login in one browser."""

    def __init__(self, server, secret):
        self.server, self.secret, self.browser = server, secret, Browser()
        self.verifier, self.state = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
        self.place, self.outcome, self.subject = None, None, None

    def until_callback(self, account):
        """Logs in up to the redirect back to Vestibule, which is not followed yet."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "client_id": "wiki", "response_type": "code", "redirect_uri": RETURN, "scope": "openid email profile", "state": self.state,
            "nonce": secrets.token_urlsafe(16), "code_challenge": challenge, "code_challenge_method": "S256", "idp_hint": "upstream",
        }
        start = f"{self.server.url}/oauth2/authorize?{urlencode(query)}"
        self.place = self.browser.walk(start, f"{self.server.url}/federation/upstream/callback", account, PEOPLE[account])

    def finish(self):
        """Follows the callback to the service provider's code, and redeems it."""
        try:
            end = self.browser.walk(self.place, RETURN, "", "", through=None)
        except (OSError, AssertionError) as problem:
            self.outcome = f"broke: {problem}"
            return
        if isinstance(end, Page):
            self.outcome = f"page {end.status}"
            return
        answer = {name: values[0] for name, values in parse_qs(urlsplit(end).query).items()}
        if "code" not in answer or answer.get("state") != self.state:
            self.outcome = f"error {answer.get('error')}"
            return
        form = {"grant_type": "authorization_code", "code": answer["code"], "redirect_uri": RETURN, "code_verifier": self.verifier}
        basic = base64.b64encode(f"wiki:{self.secret}".encode()).decode()
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": f"Basic {basic}"}
        status, tokens, _ = fetch("POST", self.server.url + "/oauth2/token", urlencode(form), headers=headers)
        if status != 200:
            self.outcome = f"token {status} {tokens}"
            return
        claims = tokens["id_token"].split(".")[1]
        self.subject = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["sub"]
        self.outcome = "in"


def together(jobs):
    """Runs the jobs at the same moment."""
    gate = threading.Barrier(len(jobs))

    def run(job):
        gate.wait()
        job()

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def links(database_url, resource):
    """Returns the number of links of this user."""
    if database_url.startswith("sqlite:"):
        with sqlite3.connect(database_url.removeprefix("sqlite:")) as connection:
            return connection.execute("select count(*) from links where resource_id = ?", (resource,)).fetchone()[0]
    query = f"select count(*) from links where resource_id = '{resource}'"
    return int(subprocess.run(["psql", "-qAt", database_url, "-c", query], capture_output=True, text=True, check=True).stdout)


def race(checks, name, server, database_url, scim, account, parallel, extra=()):
    provider_secret = "wiki-secret-0123456789abcdef"
    logins = [Login(server, provider_secret) for _ in range(parallel)]
    for login in logins:
        login.until_callback(account)
    if not checks.that(f"{name}: {parallel} browsers come back from the provider", all(isinstance(login.place, str) for login in logins), logins[0].place):
        stuck = next(login.place for login in logins if not isinstance(login.place, str))
        sys.exit(f"no way on at {stuck.url}, status {stuck.status}:\n{stuck.text[:2000]}")
    together([login.finish for login in logins] + list(extra))
    outcomes = collections.Counter(login.outcome for login in logins)
    print(f"      {name}: {dict(outcomes)}", flush=True)
    bad = [o for o in outcomes if o.startswith(("page 5", "broke", "token 5", "error server_error", "error None"))]
    checks.that(f"{name}: no failure inside the server", not bad, bad)
    found = scim.find("/Users", "userName", account)
    checks.that(f"{name}: one user", len(found) == 1, [row["id"] for row in found])
    subjects = {login.subject for login in logins if login.subject}
    checks.that(f"{name}: all successful logins are the same person", len(subjects) <= 1, subjects)
    linked = links(database_url, found[0]["id"]) if found else -1
    return outcomes, linked


def run(checks, kind, parallel):
    path, port = folder("first"), free_port()
    address = database(kind, path)
    peer = Peer("oidc-provider", path, REDIRECT_URIS=f"http://127.0.0.1:{port}/federation/upstream/callback")
    server = Vestibule(path, address, upstream(peer), service_provider(redirect_uris=[RETURN], identity_providers=["upstream"]), port=port)
    server.start()
    scim = server.scim()

    name = f"{kind}, first logins"
    outcomes, linked = race(checks, name, server, address, scim, "alice@example.com", parallel)
    checks.that(f"{name}: every login succeeds", outcomes == {"in": parallel}, dict(outcomes))
    checks.that(f"{name}: one link", linked == 1, linked)

    # At once, the POST tends to win; a moment later, the logins do.
    for account, pause in [("carol@example.com", 0), ("bob@example.com", 0.05)]:
        race_with_posts(checks, f"{kind}, a SCIM POST after {pause} s", server, address, scim, account, parallel, pause)
    checks.that(f"{kind}: the server is alive", server.alive(), server.tail())
    server.kill()


def race_with_posts(checks, name, server, address, scim, account, parallel, pause):
    """The logins of `account` and four SCIM clients that create it after `pause` seconds."""
    answers = []

    def post(client):
        time.sleep(pause)
        answers.append(client.request("POST", "/Users", user(account))[0])

    posts = [lambda client=scim.twin(): post(client) for _ in range(4)]
    outcomes, linked = race(checks, name, server, address, scim, account, parallel, posts)
    checks.that(f"{name}: the POSTs were answered 201 or 409", set(answers) <= {201, 409} and answers.count(201) <= 1, answers)
    checks.that(f"{name}: a user from SCIM is not taken over without a proof", linked <= (0 if 201 in answers else 1), (linked, answers))
    checks.that(f"{name}: either the logins or the POST made the user", bool(outcomes["in"]) != (201 in answers), (dict(outcomes), answers))


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--parallel", type=int, default=50)
    options.add_argument("--database", choices=["sqlite", "postgres", "both"], default="both")
    options = options.parse_args()
    checks = Checks()
    for kind in ["sqlite", "postgres"] if options.database == "both" else [options.database]:
        run(checks, kind, options.parallel)
    checks.finish()


if __name__ == "__main__":
    main()
