#!/usr/bin/env bash
# A folder that measures two commits beside each other on another machine, which needs neither our libraries nor a
# compiler: `bench/side_by_side/package.sh OLD [FOLDER]`, OLD a work tree of the older commit (git worktree add), FOLDER
# by default build/side_by_side. Then, there: FOLDER/run.sh MODEL [TURNS].
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
old=$(cd "$1" && pwd)
new=$(cd "$here/../.." && pwd)
out=${2:-$new/build/side_by_side}
programs="concertina concertina-bench-engine concertina-bench-http"

# package TREE NAME: its programs, which look for libraries beside themselves, and these, all but glibc's.
package() {
  local tree=$1 to=$out/$2 program library
  (cd "$tree" && cmake --preset release -DCMAKE_BUILD_RPATH='$ORIGIN/lib' >/dev/null && ninja -C build/release $programs)
  mkdir -p "$to/lib"
  for program in $programs; do
    strip -o "$to/$program" "$(find "$tree/build/release" -name "$program" -type f | head -1)"
    ldd "$to/$program" | sed -n 's|.* => \(/[^ ]*\) .*|\1|p'
  done | sort -u | while read -r library; do
    case "$library" in
      */libc.so* | */libm.so* | */libdl.so* | */librt.so* | */libpthread.so* | */libresolv.so*) ;;
      "$to"/*) ;;
      *) cp -L "$library" "$to/lib/" ;;
    esac
  done
  git -C "$tree" log -1 --format='%h %s' | cut -c1-100 >"$to/commit"
}

rm -rf "$out"
mkdir -p "$out"
package "$old" old
package "$new" new
cp "$here/run.sh" "$out/"
du -sh "$out"
