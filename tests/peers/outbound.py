#!/usr/bin/env python3
"""Outbound provisioning against two independent SCIM servers, scim2-server and scimmy, and one that fails on purpose."""

import json
from pathlib import Path

from first_logins import RETURN, Login
from rig import FUSE_OFF, GROUP, Checks, Peer, Vestibule, database, eventually, fetch, folder, free_port, operations, service_provider, target, upstream, user


class Target:
    """Reads a target through its SCIM API."""

    def __init__(self, peer):
        self.peer = peer

    def rows(self, kind):
        status, page, _ = fetch("GET", f"{self.peer['SCIM_URL']}/{kind}?count=1000", token=self.peer["SCIM_TOKEN"])
        return page.get("Resources", []) if status == 200 else []

    def user(self, name):
        found = [row for row in self.rows("Users") if row["userName"].casefold() == name.casefold()]
        return found[0] if len(found) == 1 else None

    def group(self, name):
        return next((row for row in self.rows("Groups") if row.get("displayName") == name), None)

    def holds(self, group, name):
        found, member = self.group(group), self.user(name)
        return bool(found and member and member["id"] in {m["value"] for m in found.get("members") or []})


def lifecycle(checks, scim, downstream):
    """A user and a group from their creation to their deletion; every step must arrive at every target."""

    def arrives(what, probe):
        for name, place in downstream.items():
            checks.that(f"{name}: {what}", eventually(lambda: probe(place), 30), json.dumps(place.rows("Users"))[:300])

    _, ann, _ = scim.request("POST", "/Users", user("ann@example.com", emails=[{"value": "ann@example.com", "type": "work", "primary": True}]))
    _, ben, _ = scim.request("POST", "/Users", user("ben@example.com"))
    arrives("a created user arrives", lambda t: t.user("ann@example.com") and t.user("ben@example.com"))
    scim.request("PATCH", f"/Users/{ann['id']}", operations({"op": "replace", "path": "title", "value": "Engineer"}))
    arrives("a changed attribute arrives", lambda t: t.user("ann@example.com").get("title") == "Engineer")
    scim.request("PATCH", f"/Users/{ann['id']}", operations({"op": "remove", "path": "title"}))
    arrives("a removed attribute is removed", lambda t: not t.user("ann@example.com").get("title"))
    scim.request("PATCH", f"/Users/{ann['id']}", operations({"op": "replace", "path": "active", "value": False}))
    arrives("a deactivation arrives", lambda t: t.user("ann@example.com").get("active") is False)
    scim.request("PATCH", f"/Users/{ann['id']}", operations({"op": "replace", "path": "active", "value": True}))
    arrives("a reactivation arrives", lambda t: t.user("ann@example.com").get("active") is True)
    scim.request("PATCH", f"/Users/{ann['id']}", operations({"op": "replace", "path": "userName", "value": "ann.lee@example.com"}))
    arrives("a rename arrives, and makes no second user", lambda t: t.user("ann.lee@example.com") and not t.user("ann@example.com"))

    _, team, _ = scim.request("POST", "/Groups", {"schemas": [GROUP], "displayName": "Team", "members": [{"value": ann["id"]}]})
    arrives("a group arrives with its member", lambda t: t.holds("Team", "ann.lee@example.com"))
    scim.request("PATCH", f"/Groups/{team['id']}", operations({"op": "add", "path": "members", "value": [{"value": ben["id"]}]}))
    arrives("an added member arrives", lambda t: t.holds("Team", "ben@example.com"))
    scim.request("PATCH", f"/Groups/{team['id']}", operations({"op": "remove", "path": f'members[value eq "{ann["id"]}"]'}))
    arrives("a removed member leaves, the other stays", lambda t: not t.holds("Team", "ann.lee@example.com") and t.holds("Team", "ben@example.com"))
    scim.request("DELETE", f"/Groups/{team['id']}")
    arrives("a deleted group is gone", lambda t: not t.group("Team"))
    scim.request("DELETE", f"/Users/{ben['id']}")
    arrives("a deleted user is gone or deactivated", lambda t: not (t.user("ben@example.com") or {}).get("active"))


def patches(peer):
    """Returns the bodies of the PATCH requests that a target has received, in order."""
    lines = map(json.loads, Path(peer["SCIM_LEDGER"]).read_text().splitlines())
    return [json.dumps(line["body"]) for line in lines if line["method"] == "PATCH"]


def smallest(checks, scim, peer):
    """A change is sent as the changed attributes, not as the whole resource."""
    place = Target(peer)
    made = [scim.request("POST", "/Users", user(f"{name}@example.com", title="Clerk"))[1] for name in ("una", "vic", "wes")]
    _, crew, _ = scim.request("POST", "/Groups", {"schemas": [GROUP], "displayName": "Crew", "members": [{"value": row["id"]} for row in made[:2]]})
    checks.that("flaky: a group of two arrives", eventually(lambda: place.holds("Crew", "una@example.com") and place.holds("Crew", "vic@example.com")))
    before = len(patches(peer))
    scim.request("PATCH", f"/Users/{made[0]['id']}", operations({"op": "replace", "path": "title", "value": "Captain"}))
    eventually(lambda: place.user("una@example.com").get("title") == "Captain")
    sent = patches(peer)[before:]
    checks.that("flaky: one changed attribute is one PATCH that names it alone", len(sent) == 1 and "Captain" in sent[0] and "una" not in sent[0] and "Tester" not in sent[0], sent)
    before = len(patches(peer))
    scim.request("PATCH", f"/Groups/{crew['id']}", operations({"op": "add", "path": "members", "value": [{"value": made[2]["id"]}]}))
    eventually(lambda: place.holds("Crew", "wes@example.com"))
    sent, others = patches(peer)[before:], [place.user(f"{name}@example.com")["id"] for name in ("una", "vic")]
    checks.that("flaky: one new member is one PATCH that names it alone", len(sent) == 1 and not any(other in sent[0] for other in others), sent)
    before = len(patches(peer))
    scim.request("PATCH", f"/Users/{made[0]['id']}", operations({"op": "replace", "path": "title", "value": "Captain"}))
    scim.request("PATCH", f"/Users/{made[1]['id']}", operations({"op": "replace", "path": "title", "value": "Mate"}))
    eventually(lambda: place.user("vic@example.com").get("title") == "Mate")
    checks.that("flaky: a change that changes nothing is not sent", len(patches(peer)) == before + 1, patches(peer)[before:])


def logins(checks, server, provider, downstream):
    """A user who logs in through the external provider is sent to the targets with `jit`, and to no other."""

    def enter():
        login = Login(server, "wiki-secret-0123456789abcdef")
        login.until_callback("alice@example.com")
        login.finish()
        return login.outcome

    def named(place, name):
        return ((place.user("alice@example.com") or {}).get("name") or {}).get("givenName") == name

    checks.that("a first login goes through", enter() == "in")
    for name in ("scim2-server", "flaky"):
        checks.that(f"{name}: the person of a first login arrives", eventually(lambda: named(downstream[name], "Alice")), downstream[name].user("alice@example.com"))
    fetch("PATCH", provider["OIDC_CONTROL"] + "/accounts/1001", {"given_name": "Alicia"})
    checks.that("a later login goes through", enter() == "in")
    for name in ("scim2-server", "flaky"):
        checks.that(f"{name}: a change at a later login arrives", eventually(lambda: named(downstream[name], "Alicia")), downstream[name].user("alice@example.com"))
    checks.that("scimmy: a target without jit gets no user of a login", downstream["scimmy"].user("alice@example.com") is None, downstream["scimmy"].user("alice@example.com"))


def adoption(checks, scim, downstream):
    """A user that a target already has is adopted, not created twice."""
    for name, place in downstream.items():
        status, made, _ = fetch("POST", place.peer["SCIM_URL"] + "/Users", user("known@example.com"), place.peer["SCIM_TOKEN"], {"Content-Type": "application/scim+json"})
        checks.that(f"{name}: already has a user", status == 201, made)
    before = {name: place.user("known@example.com")["id"] for name, place in downstream.items()}
    scim.request("POST", "/Users", user("known@example.com", title="Adopted"))
    for name, place in downstream.items():
        adopted = eventually(lambda: (place.user("known@example.com") or {}).get("title") == "Adopted", 30)
        checks.that(f"{name}: the known user is adopted and updated", adopted and place.user("known@example.com")["id"] == before[name], place.user("known@example.com"))


def answered_late(checks, scim, peer):
    """Creates whose answer is lost or refused for a while end in exactly one user."""
    for fault in ["ate", "drop", "503:1", "429:1", "html", "500"]:
        fetch("POST", peer["SCIM_CONTROL"] + "/faults", {"rules": [{"match": "POST .*/Users", "do": fault, "times": 1}]})
        name = f"late-{fault.split(':')[0]}@example.com"
        scim.request("POST", "/Users", user(name))

        def once():
            return sum(row["userName"] == name for row in fetch("GET", peer["SCIM_CONTROL"] + "/state")[1]["Users"].values()) == 1

        checks.that(f"flaky: after '{fault}' on its creation there is exactly one user", eventually(once, 60))


def answered_wrongly(checks, scim, peer):
    """A target that ignores filters must not make Vestibule adopt, and overwrite, another user."""
    place = Target(peer)
    before = {row["id"]: row for row in place.rows("Users")}
    fetch("POST", peer["SCIM_CONTROL"] + "/faults", {"rules": [{"match": "GET .*/Users", "do": "unfiltered"}, {"match": "POST .*/Users", "do": "ate", "times": 1}]})
    scim.request("POST", "/Users", user("unfiltered@example.com"))
    checks.that("flaky: a target that ignores filters still gets the user", eventually(lambda: place.user("unfiltered@example.com"), 60))
    fetch("POST", peer["SCIM_CONTROL"] + "/faults", {"rules": []})
    after = {row["id"]: row for row in place.rows("Users") if row["id"] in before}
    checks.that("flaky: no other user was overwritten", after == before)


def dead_letter(checks, server, scim, peer):
    """A change that the target rejects becomes a dead letter, which is reported, and replayed after the cause is fixed."""
    fetch("POST", peer["SCIM_CONTROL"] + "/faults", {"rules": [{"match": "POST .*/Users", "do": "400"}]})
    scim.request("POST", "/Users", user("refused@example.com"))

    def told():
        status, text, _ = server.command("targets", "status", "--json")
        return status == 0 and "failed" in text and "flaky" in text and text

    checks.that("flaky: a refused create is a dead letter in 'targets status'", eventually(told, 60, 1), server.command("targets", "status", "--json"))
    scim.request("POST", "/Users", user("dead-letter-2@example.com"))
    fetch("POST", peer["SCIM_CONTROL"] + "/faults", {"rules": []})
    status, printed, problem = server.command("targets", "replay", "--target", "flaky")
    checks.that("'targets replay' exits 0", status == 0, printed + problem)
    place = Target(peer)
    checks.that("flaky: the dead letters arrive after a replay", eventually(lambda: place.user("refused@example.com") and place.user("dead-letter-2@example.com"), 60))


def main():
    checks, path, port = Checks(), folder("outbound"), free_port()
    external = Peer("oidc-provider", path, REDIRECT_URIS=f"http://127.0.0.1:{port}/federation/upstream/callback")
    strict, scimmy, flaky = Peer("scim2-server", path), Peer("scimmy", path), Peer("flaky-target", path)
    targets = [target("strict", strict, **FUSE_OFF), target("scimmy", scimmy, **FUSE_OFF), target("flaky", flaky, **FUSE_OFF)]
    outbound = [{"target": "strict", "jit": True}, {"target": "scimmy"}, {"target": "flaky", "jit": True}]
    provider = service_provider(redirect_uris=[RETURN], identity_providers=["upstream"], outbound=outbound)
    server = Vestibule(path, database("sqlite", path), upstream(external), provider, *targets, port=port)
    server.start()
    scim = server.scim()
    downstream = {"scim2-server": Target(strict), "scimmy": Target(scimmy), "flaky": Target(flaky)}
    lifecycle(checks, scim, downstream)
    smallest(checks, scim, flaky)
    logins(checks, server, external, downstream)
    adoption(checks, scim, downstream)
    answered_late(checks, scim, flaky)
    answered_wrongly(checks, scim, flaky)
    dead_letter(checks, server, scim, flaky)
    checks.that("the server is alive", server.alive(), server.tail())
    checks.that("no target's token is in the log", flaky["SCIM_TOKEN"] not in server.log.read_text(errors="replace"))
    checks.finish()


if __name__ == "__main__":
    main()
