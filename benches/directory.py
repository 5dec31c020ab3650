#!/usr/bin/env python3
"""Measures a userstore in OpenLDAP beside OpenLDAP's own tools doing the same: benches/directory.py [--people 100000].

The tools ask over one connection, without a copy, an identity or a version to keep; they are the limit. $VESTIBULE_BIN is the program.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/peers"))
from rig import GROUP, Peer, Vestibule, database, eventually, folder, ldap_store, operations, service_provider  # noqa: E402

BASE = "ou=load,dc=example,dc=com"


def timed(work):
    began = time.monotonic()
    value = work()
    return time.monotonic() - began, value


def times(work, count):
    """Milliseconds of each of so many calls, sorted."""
    return sorted(timed(lambda: work(at))[0] * 1000 for at in range(count))


class Tools:
    """OpenLDAP's own tools."""

    def __init__(self, peer):
        self.bind = ["-x", "-H", peer["LDAP_URL"], "-D", peer["LDAP_BIND_DN"], "-w", peer["LDAP_BIND_PASSWORD"]]

    def run(self, name, *arguments, text=None):
        done = subprocess.run([name, *self.bind, *arguments], input=text, capture_output=True, text=True)
        return done.stdout

    def each(self, condition, values):
        """Milliseconds per search, many over one connection."""
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("\n".join(values) + "\n")
            file.flush()
            took, _ = timed(lambda: self.run("ldapsearch", "-LLL", "-b", BASE, "-f", file.name, condition))
        return took * 1000 / len(values)

    def page(self, count, *attributes):
        """Milliseconds to read so many entries in pages of 500."""
        return timed(lambda: self.run("ldapsearch", "-LLL", "-b", BASE, "-E", "pr=500/noprompt", "-z", str(count), "(objectClass=inetOrgPerson)", *attributes))[0] * 1000


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--people", type=int, default=100_000)
    people = options.parse_args().people
    path = folder("directory")
    peer = Peer("openldap", path, LOAD=str(people))
    tools = Tools(peer)
    server = Vestibule(path, database("sqlite", path), ldap_store(peer, user_base=BASE, timeout="30s", watch="1h"), service_provider(inbound_userstore="CORP"))
    server.start()
    scim = server.scim()
    rows = []

    def row(work, limit, ours):
        p50, p99 = ours[len(ours) // 2], ours[min(len(ours) - 1, int(len(ours) * 0.99))]
        beside = f"{limit:.2f} ms" if limit else "–"
        ratio = f"{p50 / limit:.1f}" if limit else "–"
        rows.append(f"| {work} | {beside} | {p50:.2f} ms | {p99:.2f} ms | {ratio} |")
        print(rows[-1], flush=True)

    def get(place):
        status, body, _ = scim.request("GET", place, timeout=600)
        assert status == 200, body
        return body

    took, whole = timed(lambda: eventually(lambda: (page := get("/Users?count=0"))["totalResults"] == people and page, 600))
    row("first reading of everybody", tools.page(people), [took * 1000])
    ids = [one["id"] for one in get("/Users?count=1000&attributes=userName")["Resources"]]
    names = [f"u{at:07d}" for at in range(1, people, max(1, people // 500))][:500]
    row("get by id", tools.each("(entryUUID=%s)", ids[:500]), times(lambda at: get(f"/Users/{ids[at]}"), 500))
    by_name = lambda at: get("/Users?filter=" + quote(f'userName eq "{names[at]}"'))
    row("filter userName eq", tools.each("(uid=%s)", names), times(by_name, len(names)))
    row("list, first page of 100", tools.page(100), times(lambda _: get("/Users"), 30))
    middle = people // 2
    row(f"list, page of 100 in the middle, by index", tools.page(middle + 100), times(lambda _: get(f"/Users?startIndex={middle}"), 20))
    row("how many there are", tools.page(people, "1.1"), times(lambda _: get("/Users?count=0"), 50))

    def after_a_change(at):
        tools.run("ldapmodify", text=f"dn: uid=u{at + 1:07d},{BASE}\nchangetype: modify\nreplace: title\ntitle: T{time.monotonic()}\n")
        return get("/Users")

    row("list, first page of 100, after somebody else's change", None, times(after_a_change, 5))
    size = min(10_000, people)
    pages = [get(f"/Users?count=1000&startIndex={start}&attributes=userName")["Resources"] for start in range(1, size + 1, 1000)]
    members = [{"value": one["id"]} for page in pages for one in page][:size]
    took, (status, group, _) = timed(lambda: scim.request("POST", "/Groups", {"schemas": [GROUP], "displayName": "all", "members": members[:-100]}, timeout=600))
    assert status == 201, group
    row(f"create a group of {size - 100}", None, [took * 1000])
    place = f"/Groups/{group['id']}"
    add = lambda at: scim.request("PATCH", place, operations({"op": "add", "path": "members", "value": [members[size - 1 - at]]}), timeout=600)
    ours = times(add, 50)
    changes = "".join(
        f"dn: cn=all,ou=groups,dc=example,dc=com\nchangetype: modify\nadd: member\nmember: uid=u{people - at:07d},{BASE}\n\n" for at in range(50)
    ) if people > size else ""
    limit = timed(lambda: tools.run("ldapmodify", text=changes))[0] * 1000 / 50 if changes else None
    row(f"add one member to a group of {size}", limit, ours)
    print(f"\n{server.memory_of_its_own():.0f} MiB resident at the end, the database's file aside.")
    server.kill()


if __name__ == "__main__":
    main()
