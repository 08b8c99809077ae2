#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "base/result.h"
#include "grammar/error.h"

namespace concertina::grammar {

// A source that is JSON. kInvalid, kTooLarge: nested deeper than kMaxDepth, so that what walks through it may
// call itself for each level.
Result<nlohmann::ordered_json> parse_json_source(std::string_view source);

}  // namespace concertina::grammar
