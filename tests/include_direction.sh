#!/usr/bin/env bash
# Includes point one way: a folder includes only folders of a lower layer, or the ones named for it below.
set -euo pipefail
cd "$(dirname "$0")/../src"

declare -A allowed=(
  [base]=""
  [tensor]="base"
  [checkpoint]="base tensor"
  [tokenizer]="base"
  [kernels]="base tensor"
  [model]="base tensor checkpoint kernels"
  [kvcache]="base"
  [scheduler]="base kvcache"
  [cluster]="base"
  [transport]="base"
  [exchange/protocol]="base scheduler"
  [exchange]="base tensor checkpoint kernels model scheduler cluster transport"
  [worker]="base tensor checkpoint kernels model kvcache scheduler cluster transport exchange"
  [front]="base tokenizer model scheduler cluster transport"
  [server]="base tokenizer scheduler cluster transport front"
  [client]="base"
  [cli]="base tensor checkpoint tokenizer kernels model scheduler cluster transport exchange worker front server client"
)

bad=0
for folder in */ exchange/protocol/; do
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
    [[ $include == *"\"$folder/"* ]] && continue
    if ! grep -qw "$target" <<<"${allowed[$folder]}"; then
      echo "src/$file:$line: $folder may not include $target (allowed: ${allowed[$folder]:-nothing})"
      bad=1
    fi
  done < <(grep -rnE '^#include "[a-z_]+/' "$folder" --include='*.h' --include='*.cc' | sed -E 's/^([^:]+):([0-9]+):/\1:\2:/')
done

# The pure folders know no clock, thread, socket, file or random source.
pure_pattern='#include <(thread|mutex|atomic|condition_variable|random|fstream|iostream|filesystem|unistd\.h|sys/|boost)|steady_clock::now|system_clock::now|std::rand'
for folder in kvcache scheduler cluster exchange/protocol; do
  [ -d "$folder" ] || continue
  if grep -rnE "$pure_pattern" "$folder" --include='*.h' --include='*.cc' | grep -v '_test\.cc:'; then
    echo "src/$folder is pure: none of the above belongs there"
    bad=1
  fi
done
if grep -rnE '#include "(kernels|tensor|checkpoint)/' exchange --include='*.h' --include='*.cc' |
  grep -vE '_test\.cc:|/test_group\.h:'; then
  echo "src/exchange moves rows: it is given a model::ExpertRunner and calls no kernel"
  bad=1
fi
if grep -rnE '#include "exchange/(shm|cpu_exchange)' exchange --include='*.h' --include='*.cc' |
  grep -E 'exchange/(link|step_protocol|epoch_view|epoch_builder|counters)\.(h|cc):'; then
  echo "src/exchange: the protocol of steps and the views of epochs know no memory, only the Link"
  bad=1
fi
if grep -nE "$pure_pattern" front/journal.h front/journal.cc; then
  echo "src/front/journal is pure"
  bad=1
fi
exit $bad
