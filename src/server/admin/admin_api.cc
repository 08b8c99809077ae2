#include "server/admin/admin_api.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <chrono>

#include "server/http/header_block.h"

namespace concertina::server::admin {

using nlohmann::ordered_json;

namespace {

struct ScaleBody {
  front::ScaleRequest request;
  enum class Wait : std::uint8_t { kNo, kYes } wait = Wait::kYes;
};

ApiResult<ScaleBody> parse_scale(const std::string& text) {
  const auto body = Fields::parse(text);
  if (!body) return tl::unexpected<ApiError>(body.error());
  Fields fields(*body);
  ScaleBody out;
  const auto size = fields.integer("new_data_parallel_size", 1, 1 << 20);
  if (!size && !fields.error()) {
    fields.fail({400, "new_data_parallel_size is missing: it must be an integer, 1 or above",
                 "new_data_parallel_size", std::nullopt});
  }
  out.request.new_size = static_cast<std::size_t>(size.value_or(0));
  out.request.drain_timeout_s =
      static_cast<std::uint32_t>(fields.integer("drain_timeout", 1, 1 << 30).value_or(120));
  // It reaches logs, terminals and paths: what could do harm there is not taken.
  const auto id = fields.text("operation_id");
  if (id && !http::is_request_id(*id))
    fields.wrong("operation_id", "1 to 128 of A-Z a-z 0-9 . _ : -, or left out", *id);
  out.request.operation_id = id.value_or("");
  out.wait = fields.boolean("wait").value_or(true) ? ScaleBody::Wait::kYes : ScaleBody::Wait::kNo;
  if (const Json* retire = fields.find("retire")) {
    if (!retire->is_array()) fields.wrong("retire", "a list of ranks", *retire);
    for (const Json& rank : retire->is_array() ? *retire : Json::array()) {
      const auto number = whole_number(rank);
      if (!number || *number < 0 || *number > 1 << 20) {
        fields.wrong("retire", "a list of ranks, which are integers, 0 or above", rank);
        break;
      }
      out.request.retire.emplace_back(static_cast<std::uint32_t>(*number));
    }
  }
  // Not ignored as elsewhere: a misspelt "retire" would take the wrong rank away.
  if (const auto unknown = fields.unknown(); !unknown.empty() && !fields.error())
    fields.fail({400, fmt::format("{} is not a field of this request", shortened(unknown[0])),
                 shortened(unknown[0]), std::nullopt});
  if (fields.error()) return tl::unexpected<ApiError>(*fields.error());
  return out;
}

std::string wall_clock(Time at) {
  const auto ago = std::chrono::steady_clock::now() - at;
  const auto wall =
      std::chrono::system_clock::now() - std::chrono::duration_cast<std::chrono::system_clock::duration>(ago);
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(wall.time_since_epoch()).count();
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03d}Z", fmt::gmtime(static_cast<std::time_t>(ms / 1000)),
                     ms % 1000);
}

ordered_json to_json(const cluster::KvMoves& moves) {
  return {{"requests", moves.n_requests},
          {"tokens_copied", moves.n_tokens_copied},
          {"tokens_recomputed", moves.n_tokens_recomputed},
          {"copies_failed", moves.n_copies_failed}};
}

ordered_json to_json(const cluster::Operation& operation) {
  ordered_json phases = ordered_json::object();
  for (const auto& [phase, time] : operation.phase_times) phases[cluster::name_of(phase)] = to_ms(time);
  return {{"operation_id", operation.id},
          {"kind", cluster::name_of(operation.kind)},
          {"from_size", operation.from_size},
          {"to_size", operation.to_size},
          {"phase", cluster::name_of(operation.phase)},
          {"started", wall_clock(operation.started)},
          {"phases_ms", std::move(phases)},
          {"moved_requests", operation.moved_requests},
          {"moved_bytes", operation.moved_bytes},
          {"max_pause_ms", operation.max_pause_ms},
          {"error", operation.error ? ordered_json(*operation.error) : ordered_json()}};
}

ordered_json bytes_of(std::uint64_t loaded_bytes, std::uint64_t total_bytes) {
  if (total_bytes == 0) return nullptr;
  return {{"loaded", loaded_bytes}, {"total", total_bytes}};
}

ordered_json to_json(const std::optional<front::RankLoad>& load) {
  if (!load) return nullptr;
  return {{"phase", load->phase == front::RankLoad::Phase::kStarting ? "starting" : "loading"},
          {"bytes", bytes_of(load->loaded_bytes, load->total_bytes)}};
}

ordered_json to_json(const front::RankStatus& rank) {
  return {{"rank", rank.rank.value()},
          {"pid", rank.pid},
          {"host", rank.host},
          {"device", rank.device},
          {"state", cluster::name_of(rank.state)},
          {"load", to_json(rank.load)},
          {"running", rank.stats.n_running},
          {"waiting", rank.stats.n_waiting},
          {"kv_blocks_used", rank.stats.kv_blocks_used},
          {"kv_blocks_total", rank.stats.kv_blocks_total},
          {"experts", rank.n_experts},
          {"waited_for_ms", rank.waited_for_ms},
          {"kv_moves", to_json(rank.stats.kv_moves)}};
}

// With the message where vLLM's clients look for it, too.
http::Response scale_error(const ApiError& error) {
  http::Response response = error_response(error);
  response.body.pop_back();
  response.body += ",\"detail\":" +
                   ordered_json(error.message).dump(-1, ' ', false, ordered_json::error_handler_t::replace) +
                   "}";
  return response;
}

http::Response outcome(const cluster::Operation& operation) {
  if (operation.phase == cluster::Phase::kDone) {
    const ordered_json body{{"message", fmt::format("Scaled to {} data parallel engines", operation.to_size)},
                            {"operation_id", operation.id}};
    return {.body = body.dump()};
  }
  using Failure = cluster::Operation::Failure;
  ApiError error{500,
                 fmt::format("operation {} {}: {}", operation.id,
                             operation.phase == cluster::Phase::kRolledBack ? "was rolled back" : "failed",
                             operation.error.value_or("unknown")),
                 std::nullopt, "operation_failed", operation.id};
  if (operation.failure == Failure::kTimeout) error.status = 408, error.code = "drain_timeout";
  if (operation.failure == Failure::kShutDown) error.status = 503, error.code = "shutting_down";
  return scale_error(error);
}

}  // namespace

void AdminApi::scale(const http::Request& request, const std::shared_ptr<http::Responder>& responder) {
  auto body = parse_scale(request.body);
  if (!body) return responder->send(scale_error(body.error()));
  const bool waits = body->wait == ScaleBody::Wait::kYes;
  std::function<void(const cluster::Operation&)> done;
  if (waits) done = [responder](const cluster::Operation& operation) { responder->send(outcome(operation)); };
  const auto operation = service_.scale(body->request, std::move(done));
  if (!operation) {
    ApiError error = from_front(operation.error());
    const auto running = service_.cluster().operation;
    if (operation.error().is(cluster::ClusterError::kOperationRunning) && running)
      error.operation_id = running->id;
    return responder->send(scale_error(error));
  }
  if (waits) return;
  if (operation->phase == cluster::Phase::kDone) return responder->send(outcome(*operation));
  const ordered_json accepted{
      {"message", fmt::format("Scaling to {} data parallel engines", operation->to_size)},
      {"operation_id", operation->id}};
  responder->send({.status = 202, .body = accepted.dump()});
}

void AdminApi::is_scaling(const std::shared_ptr<http::Responder>& responder) const {
  responder->send({.body = ordered_json{{"is_scaling_elastic_ep", service_.scaling()}}.dump()});
}

void AdminApi::show_operation(const std::string& id,
                              const std::shared_ptr<http::Responder>& responder) const {
  const auto operation = service_.operation(id);
  if (!operation) {
    return responder->send(error_response(
        {404, fmt::format("operation \"{}\" is not known", id), "operation_id", std::nullopt}));
  }
  responder->send({.body = to_json(*operation).dump()});
}

void AdminApi::cluster(const http::Request& request, const std::shared_ptr<http::Responder>& responder) {
  responder->send({.body = cluster_text_.at_least_of(request.received_at, std::chrono::steady_clock::now(),
                                                     [this] { return cluster_text(); })});
}

std::string AdminApi::cluster_text() const {
  const front::ClusterStatus status = service_.cluster();
  ordered_json ranks = ordered_json::array();
  for (const front::RankStatus& rank : status.ranks) ranks.push_back(to_json(rank));
  const ordered_json body{
      {"epoch", status.epoch.value()},
      {"size", status.size},
      {"wanted_size", status.wanted_size},
      {"missing", status.n_missing},
      {"min_size", status.min_size},
      {"max_size", status.max_size},
      {"failed_starts", status.n_failed_starts},
      {"last_start_error",
       status.last_start_error.empty() ? ordered_json() : ordered_json(status.last_start_error)},
      {"next_start_s", status.next_start_s ? ordered_json(*status.next_start_s) : ordered_json()},
      {"rebalanced_requests", status.n_rebalanced},
      {"instruction_set", status.form.instruction_set},
      {"quantization", status.form.quantization},
      {"activation_dtype", status.form.activation_dtype},
      {"weights_bytes", bytes_of(status.weights_loaded_bytes, status.weights_total_bytes)},
      {"checkpoint",
       {{"changed", !status.checkpoint_change.empty()},
        {"what",
         status.checkpoint_change.empty() ? ordered_json() : ordered_json(status.checkpoint_change)}}},
      {"ranks", std::move(ranks)},
      {"waits_for", status.waits_for.empty() ? ordered_json() : ordered_json(status.waits_for)},
      {"operation", status.operation ? to_json(*status.operation) : ordered_json()}};
  return body.dump();
}

void AdminApi::health(const std::shared_ptr<http::Responder>& responder) const {
  responder->send({.body = R"({"status":"ok"})"});
}

void AdminApi::ready(const std::shared_ptr<http::Responder>& responder) const {
  const Status ready = service_.ready();
  if (!ready) return responder->send(error_response(from_front(ready.error())));
  responder->send({.body = ordered_json{{"ready", true}}.dump()});
}

void AdminApi::version(const std::shared_ptr<http::Responder>& responder) const {
  responder->send({.body = ordered_json{{"version", CONCERTINA_VERSION}}.dump()});
}

void AdminApi::metrics(const http::Request& request, const std::shared_ptr<http::Responder>& responder) {
  responder->send({.body = metrics_text_.at_least_of(request.received_at, std::chrono::steady_clock::now(),
                                                     [this] { return metrics_.text(service_); }),
                   .content_type = "text/plain; version=0.0.4; charset=utf-8"});
}

}  // namespace concertina::server::admin
