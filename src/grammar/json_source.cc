#include "grammar/json_source.h"

#include <fmt/format.h>

#include <algorithm>

#include "grammar/limits.h"

namespace concertina::grammar {

// The nesting is bounded while it is read.
Result<nlohmann::ordered_json> parse_json_source(std::string_view source) {
  using Json = nlohmann::ordered_json;
  std::size_t deepest = 0;
  const auto watch = [&](int depth, Json::parse_event_t, Json&) {
    deepest = std::max(deepest, static_cast<std::size_t>(depth));
    return deepest <= kMaxDepth;
  };
  try {
    Json document = Json::parse(source, watch);
    if (deepest > kMaxDepth)
      return fail(GrammarError::kTooLarge, fmt::format("#: nested deeper than {}", kMaxDepth));
    return document;
  } catch (const Json::exception& error) {
    return fail(GrammarError::kInvalid, fmt::format("#: not JSON: {}", error.what()));
  }
}

}  // namespace concertina::grammar
