#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "server/http/http_server.h"

namespace concertina::server {

// What a client is told, as OpenAI's {"error": {...}}.
struct ApiError {
  int status = 400;
  std::string message;
  std::optional<std::string> param;  // the field that is wrong
  std::optional<std::string> code;
};

template <typename T>
using ApiResult = tl::expected<T, ApiError>;

inline tl::unexpected<ApiError> bad_request(std::string param, std::string message) {
  return tl::unexpected<ApiError>(ApiError{400, std::move(message), std::move(param), std::nullopt});
}

std::string error_body(const ApiError& error);
http::Response error_response(const ApiError& error);  // with Retry-After on 503
ApiError from_front(const Error& error);               // front::FrontError -> status

}  // namespace concertina::server
