#!/usr/bin/env bash
# On the machine with the GPU, beside the binaries of ./dev gpu-package, in the root of the project's tree:
#   build/gpu/bench.sh [FLAGS of concertina-bench-gpu]
# The table goes to $OUT/bench_gpu.json (default build/gpu/out) after each row. The matrix rate is torch's.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${OUT:-$here/out}
mkdir -p "$out"
rate=$(python3 - <<'PYTHON'
import torch

n = 8192
a, b = (torch.randn(n, n, device="cuda", dtype=torch.bfloat16) for _ in range(2))
best = 0
for _ in range(10):
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(5):
        a @ b
    end.record()
    end.synchronize()
    best = max(best, 5 * 2 * n**3 / begin.elapsed_time(end) / 1e9)
print(best)
PYTHON
) || rate=0  # no torch: no limit by the matrix rate
exec "$here/concertina-bench-gpu" --matrix-rate "$rate" --out "$out/bench_gpu.json" "$@"
