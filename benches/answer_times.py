#!/usr/bin/env python3
"""Measures whether the time of an answer tells anything about a name: benches/answer_times.py [--rounds 150].

Sends wrong passwords for names that are known, disabled, locked, without a password and unknown, in turns, and compares the
times of each with those of unknown names: the medians, and the two distributions (Kolmogorov-Smirnov). Fails if one can be
told apart. $VESTIBULE_BIN is the program, a release build.
"""

import argparse
import http.client
import math
import re
import statistics
import sys
import time
from pathlib import Path
from urllib.parse import urlencode, urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/peers"))
from rig import PASSWORD, USER, Vestibule, database, folder, service_provider  # noqa: E402

KINDS = ["known", "disabled", "locked", "passwordless"]
# Wrong passwords for one known name before it is locked.
FREE = 4


def chance(ours, others):
    """The probability of two such different samples of one distribution (Kolmogorov-Smirnov, two samples, asymptotic)."""
    values = sorted(set(ours) | set(others))
    ours, others = sorted(ours), sorted(others)
    distance, at, other = 0.0, 0, 0
    for value in values:
        while at < len(ours) and ours[at] <= value:
            at += 1
        while other < len(others) and others[other] <= value:
            other += 1
        distance = max(distance, abs(at / len(ours) - other / len(others)))
    scaled = distance * math.sqrt(len(ours) * len(others) / (len(ours) + len(others)))
    if scaled < 0.2:
        return 1.0
    return max(0.0, min(1.0, 2 * sum((-1) ** (k - 1) * math.exp(-2 * k * k * scaled * scaled) for k in range(1, 101))))


class Door:
    """A browser at the sign-in page, over one connection."""

    def __init__(self, address):
        self.connection = http.client.HTTPConnection(urlsplit(address).netloc)

    def request(self, method, path, body=None, cookie=""):
        headers = {"Cookie": cookie}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        return answer, answer.read().decode()

    def wrong_password(self, name):
        """The seconds until the answer to a wrong password."""
        query = urlencode({"response_type": "code", "client_id": "wiki", "redirect_uri": "http://127.0.0.1:1/callback", "scope": "openid", "state": "s"})
        answer, _ = self.request("GET", f"/oauth2/authorize?{query}")
        cookie = answer.getheader("Set-Cookie").split(";")[0]
        _, page = self.request("GET", "/login", cookie=cookie)
        csrf = re.search(r'name="csrf" value="([^"]*)"', page).group(1)
        form = urlencode({"csrf": csrf, "username": name, "password": "a wrong password of somebody"})
        began = time.perf_counter()
        answer, _ = self.request("POST", "/login/password", form, cookie)
        took = time.perf_counter() - began
        assert answer.status == 303 and answer.getheader("Location") == "/login", (name, answer.status)
        return took


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=150)
    rounds = options.parse_args().rounds
    path = folder("answer-times")
    server = Vestibule(path, database("sqlite", path), service_provider(redirect_uris=["http://127.0.0.1:1/callback"]))
    server.start()
    scim = server.scim("wiki")
    for kind in KINDS:
        for number in range(rounds):
            body = {"schemas": [USER], "userName": f"{kind}{number}", "active": kind != "disabled"}
            if kind != "passwordless":
                body["password"] = PASSWORD
            if kind != "known" and number:
                continue
            status, answer, _ = scim.request("POST", "/Users", body)
            assert status == 201, answer
    door = Door(server.url)
    for _ in range(FREE + 12):
        door.wrong_password("locked0")
    times = {kind: [] for kind in [*KINDS, "unknown"]}
    for number in range(rounds):
        # The disabled name is locked after a few turns, as an attacker's would be.
        names = {"known": f"known{number}", "disabled": "disabled0", "locked": "locked0", "passwordless": "passwordless0", "unknown": f"unknown{number}"}
        order = list(names)
        for kind in order[number % len(order):] + order[: number % len(order)]:
            times[kind].append(door.wrong_password(names[kind]))
    failed = 0
    middle = statistics.median(times["unknown"])
    print("| name | median | beside an unknown name | p (Kolmogorov-Smirnov) |\n| --- | --- | --- | --- |")
    print(f"| unknown | {middle * 1000:.2f} ms | – | – |")
    for kind in KINDS:
        ours = statistics.median(times[kind])
        probability, difference = chance(times[kind], times["unknown"]), ours / middle - 1
        failed += probability < 0.01 or abs(difference) > 0.05
        print(f"| {kind} | {ours * 1000:.2f} ms | {difference * 100:+.1f} % | {probability:.2f} |")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
