#!/usr/bin/env bash
# Includes point one way: a folder includes only folders of a lower layer, or the ones named for it below.
set -euo pipefail
cd "$(dirname "$0")/../src"

declare -A allowed=(
  [base]=""
  [request]="base"
  [tensor]="base"
  [checkpoint]="base tensor"
  [tokenizer]="base"
  [kernels]="base request tensor"
  [model]="base request tensor checkpoint kernels"
  [kvcache]="base"
  [scheduler]="base request kvcache"
  [cluster]="base request"
  [rank]="base request cluster"
  [deployment]="base request cluster"
  [transport]="base request cluster"
  [exchange]="base tensor checkpoint kernels model scheduler cluster transport"
  [worker]="base request tensor checkpoint kernels model kvcache scheduler cluster rank transport exchange"
  [front]="base request tokenizer model cluster transport deployment"
  [server]="base request tokenizer scheduler cluster transport front"
  [client]="base"
  [cli]="base request tensor checkpoint tokenizer kernels model scheduler cluster transport exchange worker front server client"
)

bad=0
for folder in */; do
  folder=${folder%/}
  if [ -z "${allowed[$folder]+set}" ]; then
    echo "src/$folder: not in the table of layers (tests/include_direction.sh)"
    bad=1
    continue
  fi
  while IFS=: read -r file line include; do
    target=$(sed -E 's|.*"([a-z_]+)/.*|\1|' <<<"$include")
    [ -d "$target" ] || continue
    [ "$target" = "$folder" ] && continue
    if ! grep -qw "$target" <<<"${allowed[$folder]}"; then
      echo "src/$file:$line: $folder may not include $target (allowed: ${allowed[$folder]:-nothing})"
      bad=1
    fi
  done < <(grep -rnE '^#include "[a-z_]+/' "$folder" --include='*.h' --include='*.cc' | sed -E 's/^([^:]+):([0-9]+):/\1:\2:/')
done

# The pure folders know no clock, thread, socket, file or random source.
pure_pattern='#include <(thread|mutex|atomic|condition_variable|random|fstream|iostream|filesystem|unistd\.h|sys/|boost)|steady_clock::now|system_clock::now|std::rand'
for folder in request kvcache scheduler cluster rank deployment exchange/protocol; do
  [ -d "$folder" ] || continue
  if grep -rnE "$pure_pattern" "$folder" --include='*.h' --include='*.cc' | grep -v '_test\.cc:'; then
    echo "src/$folder is pure: none of the above belongs there"
    bad=1
  fi
done
exit $bad
