#include "server/api_error.h"

#include <nlohmann/json.hpp>

#include "front/service.h"

namespace concertina::server {

namespace {
const char* type_of(int status) {
  switch (status) {
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 408:
      return "timeout_error";
    case 409:
      return "conflict_error";
    case 503:
      return "service_unavailable_error";
    default:
      return status >= 500 ? "server_error" : "invalid_request_error";
  }
}
}  // namespace

std::string error_body(const ApiError& error) {
  const auto or_null = [](const std::optional<std::string>& text) {
    return text ? nlohmann::json(*text) : nlohmann::json();
  };
  nlohmann::ordered_json body{{"error",
                               {{"message", error.message},
                                {"type", type_of(error.status)},
                                {"param", or_null(error.param)},
                                {"code", or_null(error.code)}}}};
  if (error.operation_id) body["error"]["operation_id"] = *error.operation_id;
  return body.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

http::Response error_response(const ApiError& error) {
  http::Response response{.status = error.status, .body = error_body(error)};
  if (error.status == 503) response.headers.emplace_back("Retry-After", "1");
  return response;
}

ApiError from_front(const Error& error) {
  using cluster::ClusterError;
  using deployment::DeploymentError;
  using front::FrontError;
  const struct {
    bool is_it;
    int status;
    const char* param;
    const char* name;
  } table[] = {
      {error.is(FrontError::kNotReady), 503, nullptr, "not_ready"},
      {error.is(FrontError::kShuttingDown), 503, nullptr, "shutting_down"},
      {error.is(FrontError::kQueueFull), 503, nullptr, "queue_full"},
      {error.is(FrontError::kPromptTooLong), 400, "prompt", "context_length_exceeded"},
      {error.is(FrontError::kUnknownToken), 400, nullptr, "unknown_token"},
      {error.is(FrontError::kNotEnoughMemory), 400, "new_data_parallel_size", "not_enough_memory"},
      {error.is(FrontError::kCheckpointChanged), 503, nullptr, "checkpoint_changed"},
      {error.is(ClusterError::kNotReady), 503, nullptr, "not_ready"},
      {error.is(ClusterError::kShuttingDown), 503, nullptr, "shutting_down"},
      {error.is(ClusterError::kInvalidSize), 400, "new_data_parallel_size", nullptr},
      {error.is(ClusterError::kInvalidRetire), 400, "retire", nullptr},
      {error.is(ClusterError::kOperationRunning), 409, nullptr, "operation_running"},
      {error.is(ClusterError::kIdTaken), 409, "operation_id", "operation_id_taken"},
      {error.is(DeploymentError::kNothingAllowed), 400, nullptr, "no_token_allowed"},
      {error.is(DeploymentError::kTooLarge), 400, nullptr, "request_too_large"},
      {error.is(DeploymentError::kEndsRanks), 500, nullptr, "rank_crashes"},
      {error.is(DeploymentError::kNonfiniteLogits), 500, nullptr, "nonfinite_logits"},
  };
  for (const auto& row : table) {
    if (!row.is_it) continue;
    ApiError out{row.status, error.message(), std::nullopt, std::nullopt};
    if (row.param != nullptr) out.param = row.param;
    if (row.name != nullptr) out.code = row.name;
    return out;
  }
  return {500, error.message(), std::nullopt, std::nullopt};
}

}  // namespace concertina::server
