#!/usr/bin/env bash
# Checks docs/protocol/epoch.pml with spin: cases without a fault and with one, each to the end of its states, and each
# broken rule, which must be caught. ./dev check-protocol. Prints a table; exit code 1 if anything is not as it must be.
set -euo pipefail
model=$(realpath "$(dirname "$0")/../../docs/protocol/epoch.pml")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
failed=0

# check NAME holds|caught FLAGS...
check() {
  local name=$1 expected=$2 verdict states seconds
  shift 2
  spin "$@" -a "$model" >spin.log 2>&1
  gcc -O1 -DSAFETY -DNOFAIR -DCOLLAPSE -DVECTORSZ=2048 -DMEMLIM=6000 -o pan pan.c 2>gcc.log
  ./pan -m3000000 >pan.log 2>&1 || true
  states=$(sed -nE 's/^ *([0-9.e+]+) states, stored.*/\1/p' pan.log)
  seconds=$(sed -nE 's/^pan: elapsed time ([0-9.]+) seconds.*/\1/p' pan.log)
  if grep -q '^pan:1:' pan.log; then
    verdict="caught: $(sed -nE 's/^pan:1: (assertion violated|invalid end state).*/\1/p' pan.log)"
    [ "$expected" = caught ] || failed=1
  elif grep -q 'errors: 0' pan.log && ! grep -qE 'max search depth too small|out of memory|reached -DMEMLIM' pan.log; then
    verdict="holds, exhausted"
    [ "$expected" = holds ] || failed=1
  else
    verdict="not exhausted"
    failed=1
  fi
  printf '%-34s %12s %8s s  %s\n' "$name" "${states:-?}" "${seconds:-?}" "$verdict"
}

printf '%-34s %12s %10s  %s\n' case states time verdict
check "scale-up" holds -DUP -DTOKENS=2
check "scale-down" holds -DDOWN -DTOKENS=2
check "scale-up, then scale-down" holds -DUP -DDOWN
check "scale-down, any one crashes" holds -DDOWN -DCRASHES=1
check "scale-up, any one crashes" holds -DUP -DCRASHES=1
check "broken: flip without all flags" caught -DDOWN -DMUTANT_FLIP_WITHOUT_ALL_FLAGS
check "broken: two banks" caught -DDOWN -DTOKENS=3 -DMUTANT_TWO_BANKS
check "broken: later epoch dropped" caught -DDOWN -DMUTANT_DROP_LATER_EPOCH
check "broken: no freeze barrier" caught -DDOWN -DTOKENS=2 -DCRASHES=1 -DVICTIM=2 -DMUTANT_NO_FREEZE_BARRIER
check "broken: late COMMIT accepted" caught -DDOWN -DCRASHES=1 -DVICTIM=2 -DMUTANT_LATE_COMMIT
check "broken: position alone" caught -DDOWN -DMUTANT_POSITION_ONLY
check "broken: journal before commit" caught -DDOWN -DCRASHES=1 -DMUTANT_JOURNAL_BEFORE_COMMIT
exit $failed
