#pragma once

#include <cstdint>
#include <string>

namespace concertina::bench {

// A request that costs its server more than its client: text that a tokenizer finds hard, JSON that a parser
// finds deep, lists without end.
struct WorstBody {
  const char* name;
  std::string target;  // "/v1/completions"
  std::string body;
};

// The n-th of them: kinds take turns, and each grows from 1 KiB to 4 MiB and begins again.
WorstBody worst_body(std::size_t n, std::uint64_t seed);

}  // namespace concertina::bench
