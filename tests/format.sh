#!/usr/bin/env bash
# Every source file is as clang-format 14 writes it; ./dev fmt does that.
set -euo pipefail
cd "$(dirname "$0")/.."
find src sim bench tests tools \( -name '*.cc' -o -name '*.h' \) -print0 | xargs -0 clang-format-14 --dry-run -Werror
