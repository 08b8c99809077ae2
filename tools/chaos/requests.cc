#include "tools/chaos/requests.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "tests/harness/load.h"

namespace concertina::chaos {
namespace {

using nlohmann::json;

constexpr std::size_t kVocabulary = 4093, kMaxPrompt = 100;

// Long enough that trouble finds it in its middle.
json structure(std::size_t which, std::size_t size) {
  const json person{{"type", "object"},
                    {"properties",
                     {{"name", {{"type", "string"}, {"maxLength", 9}}},
                      {"age", {{"type", "integer"}, {"minimum", 7}, {"maximum", 99}}}}},
                    {"required", {"name", "age"}},
                    {"additionalProperties", false}};
  switch (which % 3) {
    case 0:
      return {{"json", {{"type", "array"}, {"items", person}, {"minItems", size}, {"maxItems", size + 9}}}};
    case 1:
      return {{"regex", fmt::format("([a-z]{{3,9}} ){{{},{}}}[a-z]{{2,5}}\\.", 2 * size, 3 * size)}};
    default:
      return {{"grammar",
               fmt::format("root ::= line{{{},{}}}\nline ::= [1-9] [0-9]{{0,2}} (\" + \" [a-z]+){{1,2}} "
                           "\";\\n\"",
                           size, size + 9)}};
  }
}

}  // namespace

std::vector<client::GenerationRequest> make_requests(Random& random, const Options& options) {
  auto requests =
      harness::make_requests(random.next(), options.n_streams, options.n_tokens, kVocabulary, kMaxPrompt);
  for (std::size_t i = 3; i < requests.size(); i += 4) {
    requests[i].ignore_eos = false;
    requests[i].more = json{{"structured_outputs", structure(i / 4, 10 + random.below(8))}}.dump();
  }
  return requests;
}

}  // namespace concertina::chaos
