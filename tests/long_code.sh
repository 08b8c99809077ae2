#!/usr/bin/env bash
# Files end before 350 lines and functions before 40; tests/long_code.txt holds today's exceptions, which may only shrink.
# `long_code.sh --shrink` writes their lengths of now into it, where they are less. A function's length is what lies
# between its first line and its closing brace, found by the indentation that clang-format gives them (tests/format.sh).
set -euo pipefail
cd "$(dirname "$0")/.."
exceptions=tests/long_code.txt

measured() {
  find src sim bench tests tools \( -name '*.cc' -o -name '*.h' -o -name '*.py' -o -name '*.sh' \) -print | LC_ALL=C sort | xargs awk '
    function is_function(text) {
      return index(text, "(") && text !~ /^ *(namespace|struct|class|union|enum|if|for|while|switch|do|else|return|case|extern)[^a-z_]/
    }
    # Of a test the whole of TEST(Suite, Name), of others the name before the parameters.
    function name_of(text) {
      if (text ~ /^(TEST|TYPED_TEST)/) return substr(text, 1, index(text, ")"))
      sub(/^ */, "", text)
      if (match(text, /operator[^a-z_ (]*(\(\))?\(/)) text = substr(text, 1, RSTART + RLENGTH - 2)
      else sub(/\(.*/, "", text)
      sub(/^.*[ *&]/, "", text)
      return text
    }
    function end_of_file() { if (lines > 350) print "file", lines, file }
    FNR == 1 { end_of_file(); file = FILENAME; raw_end = ""; split("", first); split("", text); is_cpp = file ~ /\.(cc|h)$/ }
    { lines = FNR }
    !is_cpp { next }
    raw_end != "" { if (index($0, raw_end)) raw_end = ""; next }
    /^ *(\/\/|#|$)/ { next }
    {
      match($0, /^ */); indent = RLENGTH
      if ($0 !~ /^ *}/) { first[indent] = FNR; text[indent] = $0 }
      else if ($0 ~ /^ *}( *\/\/.*)?$/ && (indent in first)) {
        n = FNR - first[indent] - 1
        if (n > 40 && is_function(text[indent]) && (indent == 0 || text[indent - 2] ~ /^ *(template.*)?(struct|class) /))
          print "function", n, file, name_of(text[indent])
        delete first[indent]
      }
      if (match($0, /R"[A-Za-z_]*\(/)) {
        raw_end = ")" substr($0, RSTART + 2, RLENGTH - 3) "\""
        if (index(substr($0, RSTART + RLENGTH), raw_end)) raw_end = ""
      }
    }
    END { end_of_file() }'
}

if [ "${1:-}" = --shrink ]; then
  measured | awk 'FILENAME == "-" { n = $2; $2 = ""; now[$0] = n; next }
    { n = $2; key = $0; sub(/ [0-9]+ /, "  ", key); if (key in now) { $2 = now[key] < n ? now[key] : n; print } }
  ' - "$exceptions" >"$exceptions.new"
  mv "$exceptions.new" "$exceptions"
  exit
fi

measured | awk '
  FILENAME != "-" { key = $0; sub(/ [0-9]+ /, "  ", key); allowed[key] = $2; next }
  {
    n = $2; key = $0; sub(/ [0-9]+ /, "  ", key); seen[key] = 1
    limit = $1 == "file" ? 350 : 40
    where = $1 == "file" ? $3 : $3 ": " substr($0, index($0, $3) + length($3) + 1)
    if (!(key in allowed)) { print where ": " n " lines, and a " $1 " has at most " limit; bad = 1 }
    else if (n > allowed[key]) { print where ": " n " lines, and tests/long_code.txt allows " allowed[key]; bad = 1 }
  }
  END {
    for (key in allowed) if (!(key in seen)) { print "tests/long_code.txt: \"" key "\" is no longer long: tests/long_code.sh --shrink"; bad = 1 }
    exit bad
  }' "$exceptions" -
