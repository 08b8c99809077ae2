#!/usr/bin/env bash
# Checks docs/protocol/epoch.pml and kv_copy.pml with spin: cases without a fault and with one, each to the end of its states, and each
# broken rule, which must be caught. ./dev check-protocol. Prints a table; exit code 1 if anything is not as it must be.
# With an argument, epoch or kv_copy, only that model.
set -euo pipefail
models=$(realpath "$(dirname "$0")/../../docs/protocol")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
failed=0

# check NAME holds|caught FLAGS...
check() {
  local name=$1 expected=$2 verdict states seconds
  shift 2
  spin "$@" -a "$models/$model.pml" >spin.log 2>&1
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

epoch() {
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
}
kv_copy() {
  check "the source preempts" holds -DYS=1
  check "dropped and assigned again" holds -DYS=0 -DDROPS=1 -DZS=1
  check "the source is killed" holds -DYS=1 -DKILL
  check "the source crashes" holds -DYS=1 -DCRASH
  check "broken: no look at stamps" caught -DMUTANT_NO_STAMP_CHECK
  check "broken: stamps without record" caught -DMUTANT_STAMPS_ALONE
  check "broken: generation undone" caught -DMUTANT_GENERATION_UNDONE
  check "broken: past the commit" caught -DYS=0 -DMUTANT_COPY_PAST_COMMIT
  check "broken: stamp late" caught -DMUTANT_STAMP_LATE
  check "broken: back before mover" caught -DYS=0 -DDROPS=1 -DZS=1 -DMUTANT_BACK_BEFORE_MOVER
  check "broken: by request" caught -DYS=0 -DDROPS=1 -DMUTANT_BY_REQUEST
  check "broken: by attempt" caught -DYS=0 -DMUTANT_BY_ATTEMPT
  check "broken: planned while pending" caught -DYS=0 -DMUTANT_PLAN_WHILE_PENDING
  check "broken: no answer" caught -DMUTANT_MOVER_SILENT
  check "broken: all credited" caught -DYS=0 -DMUTANT_CREDIT_ALL
  check "broken: torn record" caught -DMUTANT_NO_VERSION_CHECK
  check "broken: waits for odd record" caught -DKILL -DMUTANT_WAITS_FOR_ODD
  check "broken: credited at once" caught -DYS=0 -DCRASH -DMUTANT_CREDIT_AT_ONCE
  check "broken: the exchange under way" caught -DYS=0 -DCRASH -DLEAST=1
  check "broken: none for an old number" caught -DYS=0 -DCRASH -DLEAST=2
  check "broken: every end trusted" caught -DYS=0 -DCRASH -DMUTANT_TRUST_ALL
}

printf '%-34s %12s %10s  %s\n' case states time verdict
for model in ${1:-epoch kv_copy}; do $model; done
exit $failed
