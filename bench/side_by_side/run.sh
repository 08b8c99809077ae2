#!/usr/bin/env bash
# Two commits in turn on a machine that does nothing else: what package.sh made, with a model beside it.
#   run.sh MODEL [TURNS]          MODEL a checkpoint folder (build/bench/M), TURNS by default 9
# Environment: SHAPES (default 1x2, ranks x threads of the engine), SEQUENCES (default "1 8 32"), OUT (default ./out).
# Each turn runs the engine and the server of both commits once, every second turn the newer one first. Rows that both
# have are compared: the median over turns of each and of their ratios, the spread of the ratios. 1 if a ratio of medians is
# more than 2% worse.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
model=$1
turns=${2:-9}
out=${OUT:-$PWD/out}
mkdir -p "$out"

measure() {  # WHICH TURN
  local tree=$here/$1 log=$out/$1.$2 prompts=""
  # The older bench knows prompts of 512 alone.
  "$tree/concertina-bench-engine" --help | grep -q -- '--prompts' && prompts="--prompts 512"
  "$tree/concertina-bench-engine" --model "$model" --shapes ${SHAPES:-1x2} --forms float32 --sequences ${SEQUENCES:-1 8 32} \
    --runs 1 --json "$log.engine.json" $prompts >"$log" 2>&1 || true
  # Its status says whether HTTP reached its share of the engine, which is not asked here.
  "$tree/concertina-bench-http" --binary "$tree/concertina" --model "$model" --rounds 1 --json "$log.http.json" >>"$log" 2>&1 || true
}

for which in old new; do echo "$which: $(cat "$here/$which/commit")"; done
for turn in $(seq "$turns"); do
  order="old new"
  [ $((turn % 2)) = 1 ] || order="new old"
  for which in $order; do measure "$which" "$turn"; done
  echo "turn $turn of $turns is over"
done

# "NAME  median  VALUE  LOWEST .. HIGHEST" of every run.
for which in old new; do
  for turn in $(seq "$turns"); do
    sed -nE "s/^(.*[^ ]) +median +([0-9.]+) .*/$which\t$turn\t\1\t\2/p" "$out/$which.$turn"
  done
done | awk -F'\t' '
  function median(values, n,   i, j, t) {
    for (i = 2; i <= n; i++) for (j = i; j > 1 && values[j] < values[j - 1]; j--) { t = values[j]; values[j] = values[j - 1]; values[j - 1] = t }
    return (values[int((n + 1) / 2)] + values[int(n / 2) + 1]) / 2
  }
  !($3 in seen) { seen[$3] = 1; names[++n_names] = $3 }
  { value[$1, $2, $3] = $4; if ($2 > turns) turns = $2 }
  END {
    printf "%-44s %10s %10s %8s   %s\n", "median of turns in which both ran", "old", "new", "new/old", "ratios"
    for (k = 1; k <= n_names; k++) {
      name = names[k]; n = 0
      for (t = 1; t <= turns; t++) {
        if (!(("old", t, name) in value) || !(("new", t, name) in value) || value["old", t, name] == 0) continue
        ++n; old[n] = value["old", t, name]; new[n] = value["new", t, name]; ratio[n] = new[n] / old[n]
      }
      if (n == 0) continue
      of_old = median(old, n); of_new = median(new, n); middle = median(ratio, n)
      # Rates alone have a bound: processor time of one round counts in hundredths of a second.
      worse = name ~ /decode|prefill|tokens\/s/ ? 1 - of_new / of_old : 0
      verdict = worse > 0.02 ? "  MORE THAN 2% WORSE" : ""
      printf "%-44s %10.1f %10.1f %8.4f   %.4f .. %.4f, median %.4f, %d turns%s\n", name, of_old, of_new, of_new / of_old, ratio[1], ratio[n], middle, n, verdict
      if (verdict != "") bad = 1
    }
    exit bad
  }'
