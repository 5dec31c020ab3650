#!/usr/bin/env python3
"""Checks the API against its OpenAPI description: openapi.py [--database sqlite|postgres] [--seed N] [--examples N].

openapi-spec-validator reads the description; schemathesis sends allowed and forbidden requests, follows links, and checks every
answer. A custom resource type with every type of value is part of it. Both databases unless one is named.
"""

import argparse
import json
import os
import subprocess
from pathlib import Path

from rig import Checks, Vestibule, database, fetch, folder, service_provider, software

# openapi_hooks.py replaces these checks with ones that know SCIM, and explains the differences.
REPLACED = ["positive_data_acceptance", "negative_data_rejection", "response_schema_conformance", "use_after_free"]
VALUES = [
    {"name": "label", "required": True, "uniqueness": "server"}, {"name": "number", "type": "integer", "indexed": True}, {"name": "weight", "type": "decimal"},
    {"name": "bought", "type": "dateTime", "indexed": True}, {"name": "lost", "type": "boolean"}, {"name": "key", "type": "binary"},
    {"name": "manual", "type": "reference", "referenceTypes": ["external"], "returned": "request"}, {"name": "tags", "multiValued": True, "indexed": True},
    {"name": "secret", "mutability": "writeOnly", "returned": "never"}, {"name": "serial", "mutability": "readOnly"},
    {"name": "parts", "type": "complex", "multiValued": True, "subAttributes": [{"name": "value", "type": "integer"}, {"name": "label", "required": True}]},
]
DEVICE = [
    {"id": "urn:example:2.0:Device", "name": "Device", "description": "Something that has a plug", "attributes": VALUES},
    {"id": "urn:example:2.0:Place", "name": "Place", "description": "Where it stands", "attributes": [{"name": "room", "required": True}]},
    {"name": "Device", "endpoint": "/Devices", "schema": "urn:example:2.0:Device", "schemaExtensions": [{"schema": "urn:example:2.0:Place", "required": True}]},
]


def described(checks, kind, server, path):
    """Reads, stores and validates the description."""
    status, description, headers = fetch("GET", server.url + "/scim/v2/openapi.json")
    checks.that(f"{kind}, the description needs no authentication", status == 200 and headers["content-type"] == "application/json", (status, headers))
    file = path / "openapi.json"
    file.write_text(json.dumps(description, ensure_ascii=False))
    done = subprocess.run([software("schemathesis") / "bin/openapi-spec-validator", file], capture_output=True, text=True)
    checks.that(f"{kind}, openapi-spec-validator finds the description valid", done.returncode == 0, done.stdout + done.stderr)
    places = {"/Users", "/Groups", "/Devices", "/Devices/{id}", "/.search", "/ServiceProviderConfig"}
    checks.that(f"{kind}, the description has every resource type", places <= set(description["paths"]), list(description["paths"]))


def tested(checks, kind, server, options, path):
    """Runs schemathesis; checks the result of each phase, and that every operation was tested."""
    scim, report = server.scim(), path / "report.json"
    command = [
        software("schemathesis") / "bin/schemathesis", "run", scim.base + "/openapi.json", "--header", f"Authorization: Bearer {scim.token}",
        "--exclude-checks", ",".join(REPLACED), "--seed", str(options.seed), "--max-examples", str(options.examples), "--continue-on-failure",
        "--generation-database", "none", "--report", "json", "--report-json-path", report, "--no-color",
    ]
    hooks = {"SCHEMATHESIS_HOOKS": "openapi_hooks", "PYTHONPATH": str(Path(__file__).resolve().parent)}
    done = subprocess.run(command, env={**os.environ, **hooks}, cwd=path, capture_output=True, text=True)
    if not report.exists():
        checks.that(f"{kind}, schemathesis runs", False, done.stdout[-2000:] + done.stderr[-2000:])
        return
    found = json.loads(report.read_text())
    for phase in ("examples", "coverage", "fuzzing", "stateful"):
        checks.that(f"{kind}, schemathesis finds no violation: {phase}", found["phases"][phase]["status"] in ("success", "skip"), found["phases"][phase])
    operations, cases = found["operations"], found["test_cases"]
    checks.that(f"{kind}, every operation was tested", operations["tested"] == operations["total"] > 50 and not found["errors"], operations)
    checks.that(f"{kind}, schemathesis reports no failure", done.returncode == 0 and not cases["unique_failures"] and cases["generated"] > 1000, cases)
    print(f"{kind}, schemathesis: {cases['generated']} requests to {operations['tested']} operations in {found['running_time']:.0f} s, seed {found['seed']}", flush=True)
    if done.returncode:
        print(done.stdout, done.stderr, flush=True)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--database", choices=["sqlite", "postgres"])
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--examples", type=int, default=5, help="requests for each operation and phase; more take longer")
    options = options.parse_args()
    checks = Checks()
    for kind in [options.database] if options.database else ["sqlite", "postgres"]:
        path = folder("openapi")
        (path / "schemas").mkdir()
        (path / "schemas/device.json").write_text(json.dumps(DEVICE))
        server = Vestibule(path, database(kind, path), '[scim]\nschemas = "schemas"\n', service_provider())
        server.start()
        described(checks, kind, server, path)
        tested(checks, kind, server, options, path)
        checks.that(f"{kind}, the server is alive and its log has no panic", server.alive() and "panicked" not in server.log.read_text(errors="replace"), server.tail())
        server.kill()
    checks.finish()


if __name__ == "__main__":
    main()
