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
  // The field that is wrong.
  std::optional<std::string> param;
  // A word for programs.
  std::optional<std::string> code;
  // The operation that it is about; a field of its own, which OpenAI's errors do not have.
  std::optional<std::string> operation_id = std::nullopt;
};

template <typename T>
using ApiResult = tl::expected<T, ApiError>;

inline tl::unexpected<ApiError> bad_request(std::string param, std::string message) {
  return tl::unexpected<ApiError>(ApiError{400, std::move(message), std::move(param), std::nullopt});
}

std::string error_body(const ApiError& error);
// With Retry-After on 503.
http::Response error_response(const ApiError& error);
// Status and code of an error of the front, the cluster or the deployment.
ApiError from_front(const Error& error);

}  // namespace concertina::server
