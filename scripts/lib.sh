# Shared by the scripts here: installs by package name, ports, processes. Source it, do not run it.
# Software from npm and PyPI is kept in $CACHE; apt packages are installed for the whole machine.
set -euo pipefail
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
CACHE="${VESTIBULE_PEERS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vestibule-peers}"
mkdir -p "$CACHE"

say() { printf '== %s\n' "$*" >&2; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# --- installs ---------------------------------------------------------------------------------

# retry COMMAND...: three tries; the output is shown only when all of them failed.
retry() {
  local log; log="$(mktemp)"
  for pause in 2 10 0; do
    if "$@" >"$log" 2>&1; then rm -f "$log"; return 0; fi
    sleep "$pause"
  done
  tail -n 30 "$log" >&2; rm -f "$log"; return 1
}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

# need_apt PACKAGE...: installs what is missing. No service of a package is started.
need_apt() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || die "install these packages first: ${missing[*]}"
  say "apt: ${missing[*]}"
  (
    flock 9
    if [ ! -e /usr/sbin/policy-rc.d ]; then
      printf '#!/bin/sh\nexit 101\n' | as_root tee /usr/sbin/policy-rc.d >/dev/null
      as_root chmod 755 /usr/sbin/policy-rc.d
      trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    retry as_root apt-get -o DPkg::Lock::Timeout=300 -qq update || true
    retry as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq -y --no-install-recommends install "${missing[@]}"
  ) 9>"$CACHE/apt.lock" || die "could not install ${missing[*]}"
}

# need_npm NAME PACKAGE@VERSION...: sets NODE_FOLDER, which holds node_modules.
need_npm() {
  local name=$1; shift
  NODE_FOLDER="$CACHE/npm-$name"
  mkdir -p "$NODE_FOLDER"
  (
    flock 9
    [ "$(cat "$NODE_FOLDER/.wanted" 2>/dev/null)" != "$*" ] || exit 0
    say "npm: $*"
    rm -rf "$NODE_FOLDER/node_modules" "$NODE_FOLDER"/package*.json
    echo '{"private":true,"type":"module"}' >"$NODE_FOLDER/package.json"
    retry npm --prefix "$NODE_FOLDER" install --no-audit --no-fund --loglevel=error --omit=dev "$@"
    echo "$*" >"$NODE_FOLDER/.wanted"
  ) 9>"$CACHE/npm-$name.lock" || die "could not install $*"
}

# need_pypi NAME PACKAGE==VERSION...: sets VENV, a virtual environment.
need_pypi() {
  local name=$1; shift
  VENV="$CACHE/venv-$name"
  python3 -c 'import ensurepip, venv' 2>/dev/null || need_apt python3-venv
  (
    flock 9
    [ "$(cat "$VENV/.wanted" 2>/dev/null)" != "$*" ] || exit 0
    say "PyPI: $*"
    rm -rf "$VENV"
    python3 -m venv "$VENV"
    retry "$VENV/bin/pip" install --quiet --disable-pip-version-check "$@"
    echo "$*" >"$VENV/.wanted"
  ) 9>"$CACHE/venv-$name.lock" || die "could not install $*"
}

# need_postgres: finds the newest PostgreSQL on the machine, or installs Debian's; sets PGBIN.
need_postgres() {
  PGBIN="$(find /usr/lib/postgresql -maxdepth 3 -path '*/bin/initdb' 2>/dev/null | sort -V | tail -1 | xargs -r dirname)"
  if [ -z "$PGBIN" ]; then
    # Keeps the package from creating and starting a cluster.
    as_root mkdir -p /etc/postgresql-common && echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
    need_apt postgresql
    PGBIN="$(find /usr/lib/postgresql -maxdepth 3 -path '*/bin/initdb' | sort -V | tail -1 | xargs -r dirname)"
  fi
  [ -n "$PGBIN" ] || die "PostgreSQL was installed but its programs are not in /usr/lib/postgresql"
}

# --- ports and processes ------------------------------------------------------------------------

# free_port: prints a free port, followed by three more free ports, because some peers listen on several.
free_port() {
  python3 - <<'PYTHON'
import contextlib, socket

while True:
    with contextlib.ExitStack() as held:
        port = 0
        try:
            for _ in range(4):
                listener = held.enter_context(socket.socket())
                listener.bind(("127.0.0.1", port))
                port = listener.getsockname()[1] + 1
        except (OSError, OverflowError):
            continue
    print(port - 4)
    break
PYTHON
}
port_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
alive() { [ -n "${1:-}" ] && kill -0 "$1" 2>/dev/null && [ "$(ps -o stat= -p "$1" | cut -c1)" != Z ]; }

# temporary_folder NAME: under /tmp and readable, because PostgreSQL runs as another user when root starts it.
temporary_folder() { local folder; folder="$(mktemp -d "${TMPDIR:-/tmp}/vestibule-$1.XXXXXX")"; chmod 755 "$folder"; echo "$folder"; }
