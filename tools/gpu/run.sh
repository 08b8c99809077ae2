#!/usr/bin/env bash
# On the machine with the GPU, beside the binaries of ./dev gpu-package, in the root of the project's tree:
#   build/gpu/run.sh rules | ops | model | serve | all | sanitize
# Logs go to $OUT (default build/gpu/out); a short table comes last.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${OUT:-$here/out}
mkdir -p "$out"
export CONCERTINA_SOURCE_DIR=${CONCERTINA_SOURCE_DIR:-$PWD}
table=""
failed=0

# part NAME BINARY [ARGUMENTS]
part() {
  local name=$1 begin=$SECONDS verdict
  shift
  if "$@" >"$out/$name.log" 2>&1; then verdict=ok; else verdict="FAILED ($?)" failed=1; fi
  table+=$(printf '%-16s %-12s %4d s  %s' "$name" "$verdict" $((SECONDS - begin)) \
    "$(grep -E '^\[  (PASSED|SKIPPED|FAILED) +\] [0-9]+ tests?' "$out/$name.log" | tr -d '\n')")$'\n'
  grep -vE '^\[ (RUN|      OK) ' "$out/$name.log" | grep -E 'Failure|oracle|differ|compared|within|^ |FAILED|ERROR' | head -"${LINES_OF_A_PART:-40}"
}
rules() { part rules "$here/kernels_cuda_test" --gtest_filter='Rules.*'; }
ops() {
  part device "$here/device_cuda_test"
  part ops "$here/kernels_cuda_test" --gtest_filter='-Rules.*'
}
model() { part model "$here/model_cuda_test"; }
# Small inputs: the tools slow kernels down a hundredfold.
sanitize() {
  local filter='CudaRows.*:CudaExperts.RouteTakes*:CudaAttention.HeadsAre*:CudaSampling.Greedy*:CudaSampling.MinusInfinity*:CudaScoring.OfARow*:CudaScoring.ARow*'
  local tool
  for tool in memcheck synccheck racecheck; do
    part "$tool" compute-sanitizer --tool $tool --error-exitcode 9 "$here/kernels_cuda_test" --gtest_filter="$filter"
  done
}
serve() { part serve python3 "$here/serve.py" "$here/concertina" models/demo; }
[ $# -gt 0 ] || set -- all
for what in "$@"; do
  case "$what" in
    rules | ops | model | serve | sanitize) $what ;;
    all) rules; ops; model; serve ;;
    *) echo "unknown: $what" >&2; exit 2 ;;
  esac
done
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null
printf '%s' "$table"
exit $failed
