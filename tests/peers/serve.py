#!/usr/bin/env python3
"""Serves an empty Vestibule until it is stopped, for drivers in other languages.

Prints KEY=value lines (URL, SCIM_URL, SCIM_TOKEN, DATABASE_URL, CLIENT_ID, CLIENT_SECRET, CONFIG, PID and the peer's facts), then READY.
"""

import argparse
import json
import os

from rig import BINARY, Peer, Vestibule, database, folder, free_port, service_provider, toml, upstream


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--redirect-uri", action="append", default=[], help="of the service provider wiki; may be repeated")
    options.add_argument("--upstream", action="store_true", help="start the external OpenID provider and let wiki's users come from it")
    options.add_argument("--jit", default="{}", help="keys of the identity provider's jit table, as JSON")
    options.add_argument("--purpose", action="append", default=[], help="the table of a purpose, as JSON; may be repeated")
    options.add_argument("--identity-provider", action="append", default=[], help="the table of a further identity provider, as JSON; may be repeated")
    options.add_argument("--provider", default="{}", help="more keys of the service provider, as JSON")
    options = options.parse_args()
    path, port = folder("serve"), options.port or free_port()
    address = database(options.database, path)
    more, facts = json.loads(options.provider), {}
    sections = [f"[[purposes]]\n{toml(json.loads(purpose))}" for purpose in options.purpose]
    if options.upstream:
        facts = Peer("oidc-provider", path, REDIRECT_URIS=f"http://127.0.0.1:{port}/federation/upstream/callback")
        sections.append(upstream(facts, jit=json.loads(options.jit)))
        more = {"identity_providers": ["upstream"], **more}
    for table in map(json.loads, options.identity_provider):
        sections.append(f"[[identity_providers]]\n{toml(table)}")
        more["identity_providers"] = [*more.get("identity_providers", []), table["name"]]
    provider = service_provider(redirect_uris=options.redirect_uri, **more)
    server = Vestibule(path, address, *sections, provider, port=port)
    server.start()
    scim = server.scim()
    facts = {
        **facts, "URL": server.url, "SCIM_URL": scim.base, "SCIM_TOKEN": scim.token, "DATABASE_URL": address, "CLIENT_ID": "wiki",
        "CLIENT_SECRET": "wiki-secret-0123456789abcdef", "CONFIG": server.config, "LOG": server.log, "BINARY": os.path.realpath(BINARY), "PID": server.process.pid,
    }
    for name, value in facts.items():
        print(f"{name}={value}")
    print("READY", flush=True)
    server.process.wait()


if __name__ == "__main__":
    main()
