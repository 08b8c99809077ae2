#pragma once

#include <mutex>
#include <optional>
#include <string>

#include "grammar/source_cache.h"

namespace concertina::server::openai {

// Whether sources of structures are good: reads their grammars before a rank does, so that a bad one is
// refused, and remembers good ones. Reading takes up to some 100 ms, which the thread that carries streams
// has not. Any thread.
class StructureChecker {
 public:
  // What is wrong with it, with the JSON pointer and the keyword or the offset; empty: nothing.
  std::string check(const request::Structure& structure);
  // Whether check() takes no time.
  bool is_known(const request::Structure& structure);

 private:
  struct Good {};
  std::mutex mutex_;
  grammar::SourceCache<Good> good_{{.max_entries = 256, .max_bytes = 16 << 20}};
};

}  // namespace concertina::server::openai
