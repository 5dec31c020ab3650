#!/usr/bin/env python3
"""No acknowledged change is lost: kill_rig.py [--kills 200] [--database sqlite|postgres] [--writers 8]

Writers create, change and delete users and add them to groups through SCIM while the server is killed with SIGKILL at
random moments and restarted, and while the outbound target answers three requests in ten with an error. Every answer
is remembered. A change whose answer never came is looked up afterwards: it must have happened wholly or not at all.
At the end, with the faults off, Vestibule and the target must both hold exactly what was acknowledged.
"""

import argparse
import json
import random
import statistics
import threading
import time

from rig import FUSE_OFF, GROUP, Checks, Peer, Vestibule, database, eventually, fetch, folder, operations, service_provider, target, user

FAULTS = [
    {"match": "/(Users|Groups)", "do": "500", "p": 0.10},
    {"match": "/(Users|Groups)", "do": "503:1", "p": 0.05},
    {"match": "/(Users|Groups)", "do": "429:1", "p": 0.05},
    {"match": "/(Users|Groups)", "do": "drop", "p": 0.06},
    {"match": "/(Users|Groups)", "do": "ate", "p": 0.06},
    {"match": "/(Users|Groups)", "do": "slow:300", "p": 0.03},
    {"match": "/(Users|Groups)", "do": "late:300", "p": 0.03},
]


class Ledger:
    """The records of the writers: acknowledged states, and errors."""

    def __init__(self, path):
        self.lock, self.file = threading.Lock(), path.open("w", buffering=1)
        self.users, self.groups = {}, {}  # userName -> state, group id -> set of user ids
        self.acknowledged, self.unknown, self.applied = 0, 0, 0
        self.lost, self.torn, self.odd = [], [], []

    def note(self, request, answer):
        with self.lock:
            self.file.write(json.dumps([time.time(), request, answer]) + "\n")


class Writer(threading.Thread):
    """Owns its users and one group, which no other writer changes; adds its users to a shared group as well."""

    def __init__(self, number, scim, ledger, shared, stop):
        super().__init__(daemon=True)
        self.number, self.scim, self.ledger, self.shared, self.stop = number, scim, ledger, shared, stop
        self.random, self.count, self.mine, self.group = random.Random(number), 0, [], None

    def run(self):
        self.group = self.make_group()
        while not self.stop.is_set():
            dice = self.random.random()
            if dice < 0.30 or len(self.mine) < 3:
                self.create()
            elif dice < 0.75:
                self.change(self.random.choice(self.mine))
            elif dice < 0.95:
                self.add_member(self.random.choice(self.mine), self.random.choice([self.group, self.shared]))
            else:
                self.delete(self.random.choice(self.mine))

    def send(self, method, path, body=None):
        """Sends a request; returns the status and the body, or None if the outcome is unknown."""
        try:
            status, answer, _ = self.scim.request(method, path, body)
        except (OSError, ValueError):
            status, answer = None, None
        self.ledger.note([method, path, body], status)
        if status is None or status >= 500 or status == 429:
            if status is not None:
                time.sleep(0.05)
            return None
        return status, answer

    def read(self, path):
        """Reads a path; waits until the server is back."""
        while True:
            try:
                status, answer, _ = self.scim.request("GET", path)
                if status < 500 and status != 429:
                    return status, answer
            except (OSError, ValueError):
                pass
            time.sleep(0.05)

    def judge(self, what, status, wanted):
        """Counts an acknowledged answer. Any answer but the wanted one means that earlier work is gone or wrong."""
        with self.ledger.lock:
            if status in wanted:
                self.ledger.acknowledged += 1
                return True
            (self.ledger.lost if status == 404 else self.ledger.odd).append(f"{what} answered {status}")
            return False

    def settle(self, what, seen, before, after):
        """Decides an unknown outcome by the state that was read afterwards."""
        with self.ledger.lock:
            self.ledger.unknown += 1
            self.ledger.applied += seen == after
            if seen not in (before, after):
                self.ledger.torn.append(f"{what}: {seen} is neither {before} nor {after}")
        return seen

    def make_group(self):
        name = f"group-{self.number}"
        while True:
            answer = self.send("POST", "/Groups", {"schemas": [GROUP], "displayName": name})
            rid = answer[1]["id"] if answer and answer[0] == 201 else None
            if rid is None:
                _, page = self.read(f"/Groups?filter=displayName%20eq%20%22{name}%22")
                rid = page["Resources"][0]["id"] if page.get("Resources") else None
            if rid:
                with self.ledger.lock:
                    self.ledger.groups[rid] = set()
                return rid

    def state_of(self, answer):
        return {"title": answer.get("title"), "nickName": answer.get("nickName"), "active": answer.get("active")}

    def create(self):
        self.count += 1
        name = f"w{self.number}.u{self.count}@example.com"
        state = {"title": f"t{self.count}.0", "nickName": f"t{self.count}.0", "active": True}
        answer = self.send("POST", "/Users", user(name, emails=[{"value": name, "type": "work"}], **state))
        if answer is None:
            _, page = self.read(f"/Users?filter=userName%20eq%20%22{name}%22")
            found = page.get("Resources", [])
            seen = self.settle(f"POST {name}", self.state_of(found[0]) if len(found) == 1 else None if not found else found, None, state)
            if seen is None:
                return
            rid = found[0]["id"]
        elif self.judge(f"POST {name}", answer[0], [201]):
            rid = answer[1]["id"]
        else:
            return
        entry = {"name": name, "id": rid, "state": state, "changes": 0}
        self.mine.append(entry)
        with self.ledger.lock:
            self.ledger.users[name] = entry

    def change(self, entry):
        entry["changes"] += 1
        mark = f"{entry['state']['title'].split('.')[0]}.{entry['changes']}"
        before = entry["state"]
        after = {"title": mark, "nickName": mark, "active": self.random.random() < 0.8}
        what = f"PATCH {entry['name']}"
        answer = self.send("PATCH", f"/Users/{entry['id']}", operations({"op": "replace", "value": after}))
        if answer is not None:
            entry["state"] = after if self.judge(what, answer[0], [200, 204]) else before
            return
        status, seen = self.read(f"/Users/{entry['id']}")
        entry["state"] = self.settle(what, self.state_of(seen) if status == 200 else status, before, after)

    def add_member(self, entry, group):
        what = f"{entry['name']} joins {group}"
        answer = self.send("PATCH", f"/Groups/{group}", operations({"op": "add", "path": "members", "value": [{"value": entry["id"]}]}))
        if answer is not None:
            member = self.judge(what, answer[0], [200, 204])
        else:
            _, seen = self.read(f"/Groups/{group}")
            member = self.settle(what, entry["id"] in {m["value"] for m in seen.get("members", [])}, False, True)
        with self.ledger.lock:
            if member:
                self.ledger.groups[group].add(entry["id"])

    def delete(self, entry):
        answer = self.send("DELETE", f"/Users/{entry['id']}")
        what = f"DELETE {entry['name']}"
        if answer is not None:
            gone = self.judge(what, answer[0], [204])
        else:
            status, seen = self.read(f"/Users/{entry['id']}")
            after = self.settle(what, None if status == 404 else self.state_of(seen), entry["state"], None)
            gone = after is None
        if gone:
            self.mine.remove(entry)
            with self.ledger.lock:
                del self.ledger.users[entry["name"]]
                for members in self.ledger.groups.values():
                    members.discard(entry["id"])


def kill_and_restart(server, kills):
    """Kills the server `kills` times; returns the seconds that each restart took."""
    times = []
    for n in range(1, kills + 1):
        time.sleep(random.uniform(0.05, 0.5))
        server.kill()
        times.append(server.start())
        if n % 20 == 0:
            print(f"      {n} kills, last restart {times[-1] * 1000:.0f} ms", flush=True)
    return times


def everything(scim, path):
    """Returns every resource of a kind, read page by page, and `totalResults`."""
    found, start = [], 1
    while True:
        _, page, _ = scim.request("GET", f"{path}?startIndex={start}&count=200")
        found += page.get("Resources", [])
        start += len(page.get("Resources", []))
        if not page.get("Resources"):
            return found, page["totalResults"]


def compare_source(ledger, scim):
    """Compares Vestibule with the acknowledged changes; returns lost, torn and extra ones."""
    lost, torn, extra, held = [], [], [], {}
    rows, total = everything(scim, "/Users")
    if total != len(rows):
        torn.append(f"{len(rows)} users are there, and {total} are counted")
    for row in rows:
        if row["userName"] in held:
            extra.append(f"two users are called {row['userName']}")
        held[row["userName"]] = row
        if row.get("title") != row.get("nickName"):
            torn.append(f"{row['userName']} is torn: {row.get('title')} {row.get('nickName')}")
    for name, entry in ledger.users.items():
        row = held.pop(name, None)
        if row is None or row["id"] != entry["id"]:
            lost.append(f"{name} is gone")
        elif {key: row.get(key) for key in entry["state"]} != entry["state"]:
            lost.append(f"{name} has {row.get('title')}, active {row.get('active')}, not {entry['state']}")
    extra += [f"{name} was deleted or never acknowledged, and is there" for name in held]
    for rid, members in ledger.groups.items():
        _, group, _ = scim.request("GET", f"/Groups/{rid}")
        there = [m["value"] for m in group.get("members", [])]
        lost += [f"{member} is not in the group {rid}" for member in members - set(there)]
        extra += [f"{member} is in the group {rid}" for member in set(there) - members]
        extra += [f"a member of the group {rid} is there twice"] if len(there) != len(set(there)) else []
    return lost, torn, extra


def compare_target(ledger, scim, control):
    """Compares the target with the acknowledged changes; returns lost and torn ones, and duplicates and leftovers."""
    state = fetch("GET", control + "/state")[1]
    lost, torn, extra, by_name, by_external = [], [], [], {}, {}
    for rid, row in state["Users"].items():
        if not row.get("active", True) and row["userName"] not in ledger.users:
            continue  # deleted in Vestibule and deactivated at the target
        for index, key in ((by_name, row["userName"].casefold()), (by_external, row.get("externalId"))):
            if key and key in index:
                extra.append(f"two users at the target have {key}")
            index[key] = rid
        if row.get("title") != row.get("nickName"):
            torn.append(f"{row['userName']} is torn at the target")
    remote = {}
    for name, entry in ledger.users.items():
        rid = by_name.pop(name.casefold(), None)
        if rid is None:
            lost.append(f"{name} is not at the target")
            continue
        remote[entry["id"]] = rid
        row = state["Users"][rid]
        if {key: row.get(key) for key in entry["state"]} != entry["state"]:
            lost.append(f"{name} has {row.get('title')}, active {row.get('active')} at the target, not {entry['state']}")
    extra += [f"{name} is left over at the target" for name in by_name]
    groups = {}
    for row in state["Groups"].values():
        if row["displayName"] in groups:
            extra.append(f"two groups at the target are called {row['displayName']}")
        groups[row["displayName"]] = {m["value"] for m in row.get("members", [])}
    for rid, members in ledger.groups.items():
        name = scim.request("GET", f"/Groups/{rid}?attributes=displayName")[1]["displayName"]
        wanted = {remote.get(member, member) for member in members}
        if name not in groups:
            lost.append(f"the group {name} is not at the target")
        else:
            lost += [f"the group {name} lacks a member at the target"] * len(wanted - groups[name])
            extra += [f"the group {name} has a wrong member at the target"] * len(groups[name] - wanted)
    return lost, torn, extra


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kills", type=int, default=200)
    options.add_argument("--writers", type=int, default=8)
    options.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    options.add_argument("--drain", type=int, default=300, help="seconds that the target may take to catch up")
    options = options.parse_args()
    checks, path = Checks(), folder("kill")
    peer = Peer("flaky-target", path)
    # The delete limit would pause a target that gets this many deletes.
    chat = target("chat", peer, **FUSE_OFF)
    server = Vestibule(path, database(options.database, path), service_provider(outbound=[{"target": "chat"}]), chat)
    server.start()
    scim = server.scim()
    _, shared, _ = scim.request("POST", "/Groups", {"schemas": [GROUP], "displayName": "shared"})
    fetch("POST", peer["SCIM_CONTROL"] + "/faults", {"rules": FAULTS})

    ledger, stop = Ledger(path / "client.jsonl"), threading.Event()
    ledger.groups[shared["id"]] = set()
    writers = [Writer(n, scim.twin(), ledger, shared["id"], stop) for n in range(options.writers)]
    for writer in writers:
        writer.start()
    times = kill_and_restart(server, options.kills)
    stop.set()
    for writer in writers:
        writer.join(60)
    checks.that("every writer finished", not any(writer.is_alive() for writer in writers))

    fetch("POST", peer["SCIM_CONTROL"] + "/faults", {"rules": []})
    began, scim = time.monotonic(), scim.twin()
    lost, torn, extra = compare_source(ledger, scim)
    eventually(lambda: not any(compare_target(ledger, scim, peer["SCIM_CONTROL"])), options.drain, 1)
    drained = time.monotonic() - began
    target_lost, target_torn, target_extra = compare_target(ledger, scim, peer["SCIM_CONTROL"])

    requests = fetch("GET", peer["SCIM_CONTROL"] + "/state")[1]["requests"]
    print(f"      {len(times)} kills, {ledger.acknowledged} acknowledged changes, {ledger.unknown} unknown outcomes ({ledger.applied} had happened)")
    print(f"      {len(ledger.users)} users, {sum(map(len, ledger.groups.values()))} memberships, {requests} requests at the target, drained in {drained:.1f} s")
    if times:
        print(f"      restart: median {statistics.median(times) * 1000:.0f} ms, worst {max(times) * 1000:.0f} ms")
    checks.that("the run had enough acknowledged changes", ledger.acknowledged > 10 * max(options.kills, 1), ledger.acknowledged)
    checks.that("no acknowledged change is lost in Vestibule", not ledger.lost + lost, (len(ledger.lost + lost), (ledger.lost + lost)[:5]))
    checks.that("no change is half done in Vestibule", not ledger.torn + torn, (len(ledger.torn + torn), (ledger.torn + torn)[:5]))
    checks.that("Vestibule has no extra users or members", not extra, (len(extra), extra[:5]))
    checks.that("no request got an unexpected status", not ledger.odd, (len(ledger.odd), ledger.odd[:5]))
    checks.that("every acknowledged change is at the target", not target_lost, (len(target_lost), target_lost[:5]))
    checks.that("no change is half done at the target", not target_torn, (len(target_torn), target_torn[:5]))
    checks.that("no duplicates and no leftovers at the target", not target_extra, (len(target_extra), target_extra[:5]))
    if target_lost or target_extra:
        print(server.command("targets", "status", "--json")[1][:2000])
    checks.finish()


if __name__ == "__main__":
    main()
