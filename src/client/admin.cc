#include "client/admin.h"

#include <nlohmann/json.hpp>
#include <numeric>

#include "client/generation.h"

namespace concertina::client {
namespace {

using json = nlohmann::ordered_json;  // phases in the order they were passed

// As the server writes it: 2026-11-27T21:15:24.125Z.
std::chrono::system_clock::time_point time_of(const std::string& text) {
  std::tm date{};
  const char* rest = strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S.", &date);
  const long ms = rest == nullptr ? 0 : std::strtol(rest, nullptr, 10);
  return std::chrono::system_clock::from_time_t(timegm(&date)) + std::chrono::milliseconds(ms);
}

OperationInfo operation_of(const json& object) {
  OperationInfo operation;
  operation.id = object.at("operation_id");
  operation.kind = object.at("kind");
  operation.phase = object.at("phase");
  operation.from_size = object.at("from_size");
  operation.to_size = object.at("to_size");
  operation.started = time_of(object.at("started"));
  for (const auto& [name, ms] : object.at("phases_ms").items())
    operation.phases_ms.emplace_back(name, ms.get<double>());
  operation.moved_requests = object.at("moved_requests");
  operation.moved_bytes = object.at("moved_bytes");
  operation.max_pause_ms = object.at("max_pause_ms");
  if (!object.at("error").is_null()) operation.error = object.at("error").get<std::string>();
  return operation;
}

std::optional<LoadedBytes> loaded_bytes_of(const json& object) {
  if (object.is_null()) return std::nullopt;
  return LoadedBytes{object.at("loaded"), object.at("total")};
}

RankInfo rank_of(const json& object) {
  RankInfo rank;
  rank.rank = RankId(object.at("rank").get<std::uint32_t>());
  rank.pid = object.at("pid");
  rank.host = object.at("host");
  rank.device = object.at("device");
  rank.state = object.at("state");
  if (const json& load = object.at("load"); !load.is_null()) {
    rank.load_phase = load.at("phase");
    rank.load_bytes = loaded_bytes_of(load.at("bytes"));
  }
  rank.n_running = object.at("running");
  rank.n_waiting = object.at("waiting");
  rank.kv_blocks_used = object.at("kv_blocks_used");
  rank.kv_blocks_total = object.at("kv_blocks_total");
  rank.n_experts = object.at("experts");
  const json& moves = object.at("kv_moves");
  rank.n_moved_requests = moves.at("requests");
  rank.n_tokens_copied = moves.at("tokens_copied");
  rank.n_tokens_recomputed = moves.at("tokens_recomputed");
  rank.n_copies_failed = moves.at("copies_failed");
  return rank;
}

ClusterInfo cluster_of(const json& object) {
  ClusterInfo cluster;
  cluster.epoch = object.at("epoch");
  cluster.size = object.at("size");
  cluster.max_size = object.at("max_size");
  cluster.wanted_size = object.at("wanted_size");
  cluster.n_missing = object.at("missing");
  cluster.n_failed_starts = object.at("failed_starts");
  cluster.n_rebalanced = object.at("rebalanced_requests");
  if (const json& error = object.at("last_start_error"); !error.is_null()) cluster.last_start_error = error;
  if (const json& next = object.at("next_start_s"); !next.is_null()) cluster.next_start_s = next;
  cluster.weights_bytes = loaded_bytes_of(object.at("weights_bytes"));
  for (const json& rank : object.at("ranks")) cluster.ranks.push_back(rank_of(rank));
  if (!object.at("operation").is_null()) cluster.operation = operation_of(object.at("operation"));
  return cluster;
}

// Sends, and reads the answer with `read`; anything but a 2xx is an error with the server's words.
template <typename Read>
auto call(const Endpoint& server, const char* method, const std::string& target, const std::string& body,
          Duration timeout, const Read& read) -> Result<decltype(read(json()))> {
  const std::string what = std::string(method) + " " + server.url + target;
  ASSIGN_OR_RETURN(const Response response, request(server, method, target, body, timeout));
  if (response.status / 100 != 2) {
    return fail(ClientError::kStatus,
                what + ": " + std::to_string(response.status) + ": " + error_message_of(response.body));
  }
  try {
    return read(json::parse(response.body));
  } catch (const json::exception& e) {
    return fail(ClientError::kInvalid,
                what + ": unexpected answer '" + response.body.substr(0, 300) + "': " + e.what());
  }
}

}  // namespace

double OperationInfo::phase_ms(const std::string& name) const {
  double sum = 0;
  for (const auto& [phase_name, ms] : phases_ms) sum += phase_name == name ? ms : 0;
  return sum;
}

const RankInfo* ClusterInfo::find(RankId rank) const {
  for (const RankInfo& info : ranks) {
    if (info.rank == rank) return &info;
  }
  return nullptr;
}

std::size_t ClusterInfo::n_requests() const {
  return std::accumulate(ranks.begin(), ranks.end(), std::size_t{0}, [](std::size_t n, const RankInfo& rank) {
    return n + rank.n_running + rank.n_waiting;
  });
}

std::size_t ClusterInfo::n_kv_blocks_used() const {
  return std::accumulate(ranks.begin(), ranks.end(), std::size_t{0},
                         [](std::size_t n, const RankInfo& rank) { return n + rank.kv_blocks_used; });
}

Result<ClusterInfo> fetch_cluster(const Endpoint& server, Duration timeout) {
  return call(server, "GET", "/cluster", "", timeout, cluster_of);
}

Result<OperationInfo> fetch_operation(const Endpoint& server, const std::string& id, Duration timeout) {
  return call(server, "GET", "/operations/" + id, "", timeout, operation_of);
}

std::string body_of(const ScaleCall& call) {
  json body = {{"new_data_parallel_size", call.new_size}};
  if (call.drain_timeout_s) body["drain_timeout"] = *call.drain_timeout_s;
  if (!call.operation_id.empty()) body["operation_id"] = call.operation_id;
  for (const RankId rank : call.retire) body["retire"].push_back(rank.value());
  if (call.answer == ScaleAnswer::kAtOnce) body["wait"] = false;
  return body.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<ScaleReply> scale(const Endpoint& server, const ScaleCall& scale_call, Duration timeout) {
  return call(server, "POST", "/scale_elastic_ep", body_of(scale_call), timeout, [](const json& answer) {
    return ScaleReply{answer.value("operation_id", std::string()), answer.value("message", std::string())};
  });
}

bool is_ready(const Endpoint& server) {
  const auto response = request(server, "GET", "/ready", {}, std::chrono::seconds(5));
  return response.has_value() && response->status == 200;
}

}  // namespace concertina::client
