#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "client/http.h"

namespace concertina::client {

struct LoadedBytes {
  std::uint64_t loaded = 0, total = 0;
};

struct RankInfo {
  RankId rank;
  std::uint32_t pid = 0;
  std::string host, device, state;  // joining | active | leaving | standby | failed
  std::string load_phase;           // starting | loading; empty: it has all that it was asked to load
  std::optional<LoadedBytes> load_bytes;
  std::size_t n_running = 0, n_waiting = 0, kv_blocks_used = 0, kv_blocks_total = 0, n_experts = 0;
  // Of requests that came to it from other ranks, since its start.
  std::uint64_t n_moved_requests = 0, n_tokens_copied = 0, n_tokens_recomputed = 0, n_copies_failed = 0;
};

struct OperationInfo {
  std::string id, kind, phase;
  std::size_t from_size = 0, to_size = 0;
  std::chrono::system_clock::time_point started;  // to a millisecond
  std::vector<std::pair<std::string, double>> phases_ms;
  std::uint64_t moved_requests = 0, moved_bytes = 0;
  double max_pause_ms = 0;
  std::optional<std::string> error;

  bool ended() const { return phase == "done" || phase == "failed" || phase == "rolled_back"; }
  double phase_ms(const std::string& name) const;  // 0 if it did not pass that phase
};

struct ClusterInfo {
  std::uint64_t epoch = 0;
  std::size_t size = 0, max_size = 0, wanted_size = 0, n_missing = 0;
  std::uint64_t n_failed_starts = 0, n_rebalanced = 0;
  std::optional<std::string> last_start_error;
  std::optional<double> next_start_s;
  std::optional<LoadedBytes> weights_bytes;  // that ranks share
  std::vector<RankInfo> ranks;
  std::optional<OperationInfo> operation;

  const RankInfo* find(RankId rank) const;
  std::size_t n_requests() const;        // running and waiting, all ranks
  std::size_t n_kv_blocks_used() const;  // all ranks
};

Result<ClusterInfo> fetch_cluster(const Endpoint& server, Duration timeout = std::chrono::seconds(10));
Result<OperationInfo> fetch_operation(const Endpoint& server, const std::string& id,
                                      Duration timeout = std::chrono::seconds(10));

enum class ScaleAnswer { kWhenEnded, kAtOnce };
struct ScaleCall {
  std::size_t new_size = 0;
  std::vector<RankId> retire;
  std::optional<std::uint32_t> drain_timeout_s;
  std::string operation_id;  // empty: the server makes one
  ScaleAnswer answer = ScaleAnswer::kWhenEnded;
};
struct ScaleReply {
  std::string operation_id, message;
};
// kStatus for anything but 200 and 202; the message has the status and the server's words.
Result<ScaleReply> scale(const Endpoint& server, const ScaleCall& call,
                         Duration timeout = std::chrono::seconds(130));
std::string body_of(const ScaleCall& call);

// 200 within the deadline of each call: an epoch is active.
bool is_ready(const Endpoint& server);

}  // namespace concertina::client
