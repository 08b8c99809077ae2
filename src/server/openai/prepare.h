#pragma once

#include <optional>
#include <string>
#include <vector>

#include "server/openai/parameters.h"

namespace concertina::server::openai {

// What a body came to.
struct PreparedRequest {
  ApiResult<Parameters> parameters;      // where something is to be generated
  std::vector<std::string> unknown;      // its fields that nobody knows
  std::optional<http::Response> answer;  // else
};

// Any thread; no state.
PreparedRequest prepare(Endpoint endpoint, const std::string& body, const ParseContext& context);

// In the words of the endpoint's dialect.
http::Response refusal(Endpoint endpoint, const ApiError& error);

}  // namespace concertina::server::openai
