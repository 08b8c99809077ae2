// Any bytes as a source: it is refused, or masks lead on from it and say what single tokens say.
#include "grammar/fuzz_walk.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace concertina::grammar;
  walk_what_compiles(Language::kFrames, {reinterpret_cast<const char*>(data), size});
  return 0;
}
