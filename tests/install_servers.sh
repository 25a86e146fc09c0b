#!/bin/sh
# Install, where apt can, the servers and tools that the tests start privately.
set -eu
missing=""
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
command -v redis-server >/dev/null 2>&1 || missing="$missing redis-server"
test -x /usr/bin/storescu || missing="$missing dcmtk"
command -v sqlite3 >/dev/null 2>&1 || missing="$missing sqlite3"
command -v strace >/dev/null 2>&1 || missing="$missing strace"
command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
[ -z "$missing" ] && exit 0
command -v apt-get >/dev/null 2>&1 || { echo "Please install:$missing" >&2; exit 0; }
sudo=""
[ "$(id -u)" = 0 ] || sudo="sudo"
echo "Installing$missing"
$sudo apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq $missing >/dev/null
