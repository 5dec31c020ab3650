#!/usr/bin/env bash
# Runs independent SCIM conformance suites against Vestibule on SQLite and on PostgreSQL: scim2-tester (PyPI), first and on an empty
# store, and the transcripts in $SCIM_CASES when that folder exists.
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
SCIM_CASES="${SCIM_CASES:-$ROOT/../shared/suites/cases}"
need_pypi scim2-tester scim2-cli==0.6.0 scim2-tester==0.5.2 scim2-client==0.13.2 scim2-models==0.12.3
PASSED=0 FAILED=0 SKIPPED=0

count() { PASSED=$((PASSED + $1)); FAILED=$((FAILED + $2)); SKIPPED=$((SKIPPED + $3)); }

# tester NAME BASE TOKEN: every check of scim2-tester that did not pass is printed.
tester() {
  local out; out="$(mktemp)"
  SCIM_CLI_HEADERS="Authorization: Bearer $3" NO_COLOR=1 COLUMNS=300 "$VENV/bin/scim2" --url "$2" test 2>&1 | sed 's/\x1b\[[0-9;]*m//g' >"$out" || true
  awk '/^[A-Z]+ [a-z_]+/ { show = ($1 !~ /^(SUCCESS|COMPLIANT|ACCEPTABLE|SKIPPED)$/) } show' "$out"
  local pass fail skip
  pass=$(grep -cE '^(SUCCESS|COMPLIANT|ACCEPTABLE) ' "$out" || true)
  fail=$(grep -cE '^(ERROR|CRITICAL|DEVIATION) ' "$out" || true)
  skip=$(grep -c '^SKIPPED ' "$out" || true)
  [ $((pass + fail)) -gt 0 ] || { tail -n 20 "$out"; fail=1; }
  echo "$1, scim2-tester: $pass passed, $fail failed, $skip skipped"
  count "$pass" "$fail" "$skip"; rm -f "$out"
}

# tally WORD FILE: the number behind WORD= on the closing line of a replay.
tally() { local n; n="$(sed -nE "s/^replay: (.* )?$1=([0-9]+).*/\\2/p" "$2")"; echo "${n:-0}"; }

# transcripts NAME BASE TOKEN
transcripts() {
  [ -f "$SCIM_CASES/replay.py" ] || { echo "$1, transcripts: not here, skipped"; return 0; }
  local out; out="$(mktemp)"
  # The replay program writes the Host header itself beside the one of Python's library; a server must refuse two (RFC 9112 §3.2).
  python3 -c '
import http.client, runpy, sys
connection = http.client.HTTPConnection
putrequest, putheader = connection.putrequest, connection.putheader
def begin(self, *given, **named):
    self.has_host = False
    return putrequest(self, *given, **named)
def once(self, name, *values):
    if name.lower() != "host" or not self.has_host:
        self.has_host = self.has_host or name.lower() == "host"
        putheader(self, name, *values)
connection.putrequest, connection.putheader = begin, once
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")' "$SCIM_CASES/replay.py" "$2" "$3" "$SCIM_CASES/rfc-core.jsonl" | tee "$out" || true
  local pass fail skip
  pass=$(tally pass "$out") fail=$(($(tally fail "$out") + $(tally blocked "$out"))) skip=$(tally skip "$out")
  [ $((pass + fail)) -gt 0 ] || fail=1
  echo "$1, transcripts: $pass passed, $fail failed, $skip skipped"
  count "$pass" "$fail" "$skip"; rm -f "$out"
}

for kind in sqlite postgres; do
  facts="$(mktemp)"
  python3 "$HERE/serve.py" --database "$kind" >"$facts" & server=$!
  trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true' EXIT
  until grep -q '^READY$' "$facts" || ! alive "$server"; do sleep 0.1; done
  base="$(sed -n 's/^SCIM_URL=//p' "$facts")" token="$(sed -n 's/^SCIM_TOKEN=//p' "$facts")"
  [ -n "$token" ] || { cat "$facts"; die "the server did not start"; }
  tester "$kind" "$base" "$token"
  transcripts "$kind" "$base" "$token"
  kill "$server"; wait "$server" 2>/dev/null || true; trap - EXIT; rm -f "$facts"
done
echo "$PASSED passed, $FAILED failed, $SKIPPED skipped"
[ "$FAILED" = 0 ] && [ "$PASSED" -gt 0 ]
