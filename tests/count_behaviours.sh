#!/usr/bin/env bash
# Counts the behaviours of docs/peer_behaviours.md, and holds the table to what it says of itself: 213 in all, no number twice, each
# "no" with a reason, each test that is named exists, and no fewer "yes" than there were (the number below, which only grows).
set -euo pipefail
cd "$(dirname "$0")/.."
least_yes=190
table=docs/peer_behaviours.md

rows=$(sed -nE 's/^\| ([LVS][0-9]+) \| .* \| (yes|yes: .*|no|no: .*) \|$/\1 \2/p' $table)
count() { grep -cE "$1" <<<"$rows" || true; }
fail() { echo "$table: $*" >&2; exit 1; }

[ "$(grep -cE '^\| [LVS][0-9]+ ' $table)" = "$(wc -l <<<"$rows")" ] || fail "a row says neither yes nor no: why"
twice=$(cut -d' ' -f1 <<<"$rows" | sort | uniq -d)
[ -z "$twice" ] || fail "twice: $twice"
for server in L:78 V:113 S:22; do
  [ "$(count "^${server%:*}")" = "${server#*:}" ] || fail "there are $(count "^${server%:*}") of ${server%:*}, not ${server#*:}"
done
! grep -E ' no$' <<<"$rows" || fail "a no without a reason"
for test in $(sed -nE 's/^[LVS][0-9]+ yes: `([^`]*)`$/\1/p' <<<"$rows"); do
  grep -rqE "TEST(_F|_P)?\(${test%.*}, ${test#*.}\)" src tests --include='*_test.cc' || fail "there is no test $test"
done
for server in L V S; do echo "$server: $(count "^$server[0-9]+ yes") of $(count "^$server")"; done
echo "all: $(count ' yes') of $(wc -l <<<"$rows")"
[ "$(count ' yes')" -ge $least_yes ] || fail "fewer than $least_yes"
