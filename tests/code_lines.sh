#!/usr/bin/env bash
# Lines of code of the folders whose length is a promise: as clang-format breaks them, without blanks, comments and
# tests. A header counts if something other than a test includes it. The numbers below only shrink, unless a commit
# says why. `code_lines.sh FOLDER...` prints the files of any folders, and their sum.
set -euo pipefail
cd "$(dirname "$0")/.."

# What is not a test's: all sources but tests' own, and the headers that they reach.
reached() {
  grep -roHE '^ *#include "[^"]+"' src sim --include='*.cc' --include='*.h' | sed -E 's/: *#include "([^"]+)"/ \1/' | awk '
    { from = $1; to = $2 ~ /^sim\// ? $2 : "src/" $2; includes[from] = includes[from] " " to }
    END {
      for (file in includes) if (file ~ /\.cc$/ && file !~ /_(test|fuzz|bench)\.cc$/) waiting[++last] = file
      while (next_one < last) {
        file = waiting[++next_one]
        if (seen[file]++) continue
        print file
        n = split(includes[file], to_visit, " ")
        for (i = 1; i <= n; i++) waiting[++last] = to_visit[i]
      }
    }'
}
files=$(reached)

lines_of() {  # of FOLDER...: "lines file", and the sum last
  for folder in "$@"; do grep "^$folder/" <<<"$files" || true; done | LC_ALL=C sort | xargs awk '
    FNR == 1 { order[++n] = FILENAME }
    !/^ *(\/\/.*)?$/ { lines[FILENAME]++; sum++ }
    END { for (i = 1; i <= n; i++) print lines[order[i]], order[i]; print sum + 0, "together" }'
}

if [ $# -gt 0 ]; then lines_of "$@"; exit; fi

failed=0
hold() {  # MOST FOLDER...
  local most=$1 now
  shift
  now=$(lines_of "$@" | sed -n 's/ together$//p')
  [ "$now" -le "$most" ] || { echo "$*: $now lines of code, and tests/code_lines.sh allows $most"; failed=1; }
}
hold 3350 sim src/front
hold 5039 sim src/front src/rank src/deployment
exit $failed
