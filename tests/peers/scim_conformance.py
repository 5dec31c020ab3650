#!/usr/bin/env python3
"""Runs independent SCIM suites: scim_conformance.py [--database sqlite|postgres|openldap], all unless one is named.

Runs scim2-tester and scim-sanity (PyPI), and the recorded clients in $VESTIBULE_CASES (beside the repository), if that folder exists.
A skipped check fails too, unless it is in SKIPPED.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from rig import ROOT, Checks, Peer, Vestibule, database, folder, ldap_store, service_provider, software

CASES = Path(os.environ.get("VESTIBULE_CASES") or ROOT.parent / "shared/suites/cases")
# Every check that a suite may skip, and why.
SKIPPED = {
    f"scim-sanity: {name} Lifecycle": "agents are resource types of a draft (draft-abbey-scim-agent-extension)"
    for name in ("Agent CRUD", "AgenticApplication CRUD", "Agent Rapid")
}
# The recordings of the standard itself, and those of them that a server SHOULD accept but a strict one refuses.
STANDARD = "rfc-core"
LENIENT = {"rfc-56", "rfc-117", "rfc-151", "rfc-161", "rfc-163", "rfc-173", "rfc-174"}
# The player of the recordings sends its own Host header in addition to that of Python's library; a server must refuse
# two (RFC 9112 §3.2).
PLAYER = """
import http.client, runpy, sys
class OneHost(http.client.HTTPConnection):
    def putrequest(self, *given, **named):
        self.has_host = False
        super().putrequest(*given, **named)
    def putheader(self, name, *values):
        if name == "Host" and self.has_host:
            return
        self.has_host = self.has_host or name == "Host"
        super().putheader(name, *values)
http.client.HTTPConnection = OneHost
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def scim2_tester(scim):
    """Yields each result of scim2-tester: name, verdict, detail. The store must be empty."""
    environment = {**os.environ, "SCIM_CLI_HEADERS": f"Authorization: Bearer {scim.token}", "NO_COLOR": "1", "COLUMNS": "400"}
    command = [software("scim2-tester") / "bin/scim2", "--url", scim.base, "test"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    results = re.findall(r"^([A-Z]+) ([a-z_]+)\n((?:  .*\n?)*)", done.stdout, re.M)
    for verdict, name, detail in results:
        yield name, verdict.lower(), " ".join(detail.split())
    if done.returncode and all(verdict == "SUCCESS" for verdict, _, _ in results):
        yield "its own verdict", "failed", (done.stdout + done.stderr)[-500:]


def scim_sanity(scim):
    """Yields each result of scim-sanity: name, verdict, detail."""
    command = [software("scim-sanity") / "bin/scim-sanity", "probe", scim.base, "--token", scim.token, "--i-accept-side-effects", "--strict", "--json-output"]
    done = subprocess.run(command, capture_output=True, text=True)
    if not done.stdout.startswith("{"):
        yield "its own verdict", "failed", (done.stdout + done.stderr)[-500:]
        return
    for result in json.loads(done.stdout)["results"]:
        yield result["name"], result["status"], result.get("message", "")


def recordings(scim, path, pattern="*"):
    """Yields each result of the recorded clients: name, verdict, detail; "should" counts as much as "must"."""
    report = path / "recordings.json"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-c", PLAYER, CASES / "replay.py", scim.base, scim.token, *sorted(CASES.glob(f"{pattern}.jsonl")), "--json", report]
    done = subprocess.run(command, capture_output=True, text=True)
    if not report.exists():
        yield "its own verdict", "failed", (done.stdout + done.stderr)[-500:]
        return
    for suite in json.loads(report.read_text())["suites"]:
        for result in suite["results"]:
            yield f"{result['id']} {result['name']}", result["result"], "; ".join(result["messages"])


def strict(checks, path):
    """A strict service provider's clients: the suites pass, and so do the recordings of the standard."""
    server = Vestibule(path, database("sqlite", path), service_provider(scim={"strict": True}))
    server.start()
    scim = server.scim()
    judge(checks, "strict", "scim2-tester", scim2_tester(scim))
    judge(checks, "strict", "scim-sanity", scim_sanity(scim))
    if CASES.is_dir():
        results = (result for result in recordings(scim, path, STANDARD) if result[0].split()[0] not in LENIENT)
        judge(checks, "strict", "recorded", results)
    server.kill()


def judge(checks, kind, suite, results):
    """Counts passed checks, prints skipped ones, and fails on everything else, also if there is no result."""
    count = 0
    for name, verdict, detail in results:
        count += 1
        label = f"{suite}: {name}"
        if verdict in ("skip", "skipped") and label in SKIPPED:
            print(f"skip  {kind}, {label}: {SKIPPED[label]}", flush=True)
        else:
            checks.that(f"{kind}, {label}", verdict in ("pass", "success"), f"{verdict}: {detail}")
    if not count:
        checks.that(f"{kind}, {suite} has results", False)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--database", choices=["sqlite", "postgres", "openldap"])
    options = options.parse_args()
    checks = Checks()
    for kind in [options.database] if options.database else ["sqlite", "postgres", "openldap"]:
        path = folder("conformance")
        if kind == "openldap":
            directory = Peer("openldap", path)
            server = Vestibule(path, database("sqlite", path), ldap_store(directory), service_provider(inbound_userstore="CORP"))
        else:
            server = Vestibule(path, database(kind, path), service_provider())
        server.start()
        scim = server.scim()
        judge(checks, kind, "scim2-tester", scim2_tester(scim))
        judge(checks, kind, "scim-sanity", scim_sanity(scim))
        if CASES.is_dir():
            judge(checks, kind, "recorded", recordings(scim, path))
        else:
            print(f"left out: there are no recorded clients at {CASES}", flush=True)
        checks.that(f"{kind}, the log has no panic", "panicked" not in server.log.read_text(errors="replace"))
        server.kill()
    if options.database in (None, "sqlite"):
        strict(checks, folder("conformance"))
    checks.finish()


if __name__ == "__main__":
    main()
