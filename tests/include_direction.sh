#!/usr/bin/env bash
# Includes point one way: a folder includes only folders of a lower layer, or the ones named for it below, and nothing is
# named that no file needs. A key is a folder of src or of the project, the longest one that holds a file; what it links
# is held against the same row. The pure folders reach no clock, thread, socket, file or random source, through
# whatever header, and no folder that is not pure, of which base's headers are the exception.
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A allowed=(
  [base]=""
  [request]="base"
  [grammar]="base request tokenizer"
  [tensor]="base"
  [device]="base"
  [checkpoint]="base tensor"
  [tokenizer]="base"
  [jinja]="base"
  [chat]="base tokenizer jinja"
  [tools]="base"
  [kernels]="base request tensor device"
  [model]="base request tensor checkpoint kernels device"
  [kvcache]="base"
  [scheduler]="base request kvcache"
  [cluster]="base request"
  [rank]="base cluster kvcache"
  [deployment]="base request cluster"
  [transport]="base cluster"
  [exchange]="base kernels model cluster transport exchange/protocol device"
  [exchange/protocol]="base scheduler"
  [worker]="base grammar checkpoint kernels model kvcache scheduler cluster rank transport exchange device"
  [launcher]="base transport deployment"
  [front]="base request cluster transport deployment launcher"
  [server]="base grammar tokenizer jinja chat tools transport front"
  [client]="base"
  [cli]="base grammar checkpoint kernels model tokenizer chat tools transport worker launcher front server client device"
  [sim]="base request kvcache scheduler cluster exchange/protocol rank deployment"
  [tests/harness]="base client"
  [tests]="base checkpoint deployment transport worker launcher front server client tests/harness"
  [bench]="base device kernels model tokenizer cluster transport worker client tests/harness"
  [tools/chaos]="base client cli tests/harness"
  [tools/demo]="base client tests/harness"
)
# Folders, and the beginnings of files' names.
pure="request grammar kvcache scheduler cluster rank deployment exchange/protocol sim"
# What others read while it is written: its words are atomic, and no decision hangs on who reads them.
stamped="kvcache/block_pool|kvcache/sequence_records"

std_impure='#include <(thread|mutex|shared_mutex|atomic|condition_variable|future|semaphore|latch|barrier|stop_token|random|fstream|iostream|filesystem|ctime|csignal|[a-z_]+\.h|sys/|netinet/|arpa/|boost/|spdlog/|google/)'
impure="$std_impure|(steady|system|high_resolution)_clock::now|std::rand\b|getenv"
{
  for unit in "${!allowed[@]}"; do echo "unit $unit ${allowed[$unit]}"; done
  echo "pure $pure"
  for unit in "${!allowed[@]}"; do
    grep -oHE 'concertina_[a-z]+' "src/$unit/CMakeLists.txt" 2>/dev/null | sed -E "s|^.*:concertina_|link $unit |" || true
  done
  grep -rnE '^ *#include "' src sim tests bench tools --include='*.h' --include='*.cc' |
    sed -E 's|^(src/)?([^:]+):([0-9]+): *#include "([^"]+)".*|include \2 \3 \4|'
  grep -rnE "$impure" src sim tests bench tools --include='*.h' --include='*.cc' |
    grep -vE "^src/($stamped)\.(h|cc):[0-9]+:#include <atomic>" |
    sed -E 's|^(src/)?([^:]+):([0-9]+):|impure \2 \3 |'
} | awk '
  function unit_of(path) {
    while (sub(/\/[^\/]*$/, "", path)) if (path in known) return path
    return ""
  }
  function fail(text) { print text; bad = 1 }
  # Once for each place, however many files reach it.
  function fail_once(place, text) { if (!(place in said)) fail(text); said[place] = 1 }
  function is_pure(path,   i, rest) {
    for (i in pure) if (index(path, i) == 1) {
      rest = substr(path, length(i) + 1)
      if (rest == "" || rest ~ /^[\/._]/) return 1
    }
    return 0
  }
  # What a pure file reaches, breadth first; base is entered, other folders are an error of their own.
  function check_pure(start,   n, at, i, path, from, reached, queue) {
    queue[n = 1] = start; reached[start] = ""
    for (at = 1; at <= n; ++at) {
      path = queue[at]
      for (i = 1; i <= n_impure[path]; ++i)
        fail_once(path " " i, path ":" impure[path, i] ", and the pure " start reached[path] " reaches it")
      for (i = 1; i <= n_includes[path]; ++i) {
        to = includes[path, i]
        if (to in reached) continue
        if (!is_pure(to) && unit_of(to) != "base") {
          fail_once(path " " to, path " includes " to ", which is not pure, and the pure " start reached[path] " reaches it")
          continue
        }
        reached[to] = reached[path] " -> " to; queue[++n] = to
      }
    }
  }
  $1 == "unit" { known[$2] = 1; for (i = 3; i <= NF; ++i) allowed[$2, $i] = 1 }
  $1 == "pure" { for (i = 2; i <= NF; ++i) pure[$i] = 1 }
  $1 == "impure" { line = $0; sub(/^impure [^ ]+ /, "", line); impure[$2, ++n_impure[$2]] = line }
  $1 == "link" && ($3 in known) && $3 != $2 && !(($2, $3) in allowed) { fail("src/" $2 "/CMakeLists.txt: " $2 " may not link " $3) }
  $1 == "include" {
    from = unit_of($2); to = unit_of($4)
    includes[$2, ++n_includes[$2]] = $4
    files[$2] = 1
    if (from == "") fail($2 ": in no folder of the table of layers (tests/include_direction.sh)")
    if (to == "" || from == to) next
    used[from, to] = 1
    if (!((from, to) in allowed)) fail($2 ":" $3 ": " from " may not include " to)
  }
  END {
    for (key in allowed) if (!(key in used)) { split(key, part, SUBSEP); fail(part[1] " includes nothing of " part[2] ": take it out of the table") }
    for (path in n_impure) files[path] = 1
    for (path in files) {
      stem = path; sub(/\.[a-z]+$/, "", stem)
      if (is_pure(path) && stem !~ /_(test|bench|fuzz|main)$/) check_pure(path)
    }
    exit bad
  }'
