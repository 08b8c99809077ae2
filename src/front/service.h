#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "cluster/cluster_error.h"
#include "cluster/messages.h"
#include "deployment/deployment_error.h"
#include "front/form.h"
#include "request/request.h"

namespace concertina::front {

// Beside cluster::ClusterError, of scales, and deployment::DeploymentError, of requests, which pass through.
enum class FrontError {
  kNotReady,           // no epoch is active yet: 503
  kShuttingDown,       // 503
  kQueueFull,          // --max-num-queued-reqs: 503
  kPromptTooLong,      // 400
  kUnknownToken,       // 400: it has a token that the model has not
  kNotEnoughMemory,    // 400: for ranks of that number
  kGroupLost,          // 500
  kCheckpointChanged,  // 503: the files that ranks map are others now
};

// What the server knows of the model it serves; fixed for the life of the process.
struct ModelInfo {
  std::string served_name;
  std::string path;
  std::size_t max_model_len = 0;
  std::size_t vocab_size = 0;
  std::vector<TokenId> eos_token_ids;
  // Whether requests may ask to go before others (--scheduling-policy).
  enum class Priorities : std::uint8_t { kRefused, kServed } priorities = Priorities::kRefused;
  request::SamplingParams default_sampling;  // of generation_config.json; temperature 0 if do_sample is false
  std::int64_t created_unix_s = 0;
  // Of checkpoint, form and kernels: two servers with an equal one answer with the same bits. Empty: not
  // known.
  std::string system_fingerprint;
};

using request::ClientId;

struct GenerationRequest {
  ClientId client;                   // whose turn it takes
  std::vector<TokenId> prompt_ids;   // 1 or more
  request::SamplingParams sampling;  // seed is set already
  request::StopParams stop;
  request::SharedTokenRules rules = {};
  request::LogprobParams logprobs = {};
  std::int32_t priority = 0;  // the lower the earlier
  request::SharedStructure structure = {};
};

// Hears of one request, on the front's thread, never from within submit() or cancel().
class GenerationListener {
 public:
  virtual ~GenerationListener() = default;
  // A reason other than kNone: it is the last one, and nothing comes after it.
  // `logprobs`: the token's own, then the highest, where the request wants some.
  virtual void on_token(RequestId request, TokenId token, request::FinishReason reason,
                        std::span<const request::TokenLogprob> logprobs) = 0;
  // Of the prompt's tokens, in their order, but for the first: all before the first token.
  virtual void on_prompt_logprobs(RequestId, const request::PromptLogprobs&) {}
  virtual void on_failed(RequestId request, const Error& error) = 0;  // nothing comes after
};

struct ScaleRequest {
  std::string operation_id;  // empty: the front makes one
  std::size_t new_size = 0;
  std::vector<RankId> retire;
  std::uint32_t drain_timeout_s = 120;
};

// How far a rank is that starts, or loads experts for the next epoch.
struct RankLoad {
  // kStarting: no HELLO yet. kLoading: first what every rank holds, then its experts of the next epoch.
  enum class Phase : std::uint8_t { kStarting, kLoading } phase = Phase::kStarting;
  std::uint64_t loaded_bytes = 0, total_bytes = 0;  // as it last said, once a second; total 0: not yet
};

struct RankStatus {
  RankId rank;
  std::uint32_t pid = 0;
  std::string host, device;
  cluster::RankState state = cluster::RankState::kJoining;
  std::size_t n_experts = 0;
  std::optional<RankLoad> load;  // none: it has all that it was asked to load
  double waited_for_ms = 0;      // by its peers, of the epoch in force, all peers together
  cluster::RankStats stats;      // as it last said
};

struct ClusterStatus {
  Epoch epoch;
  std::size_t size = 0, min_size = 1, max_size = 0;
  std::size_t wanted_size = 0, n_missing = 0;  // n_missing: ranks short of the wanted size
  std::uint64_t n_failed_starts = 0;           // since the start
  std::string last_start_error;                // of the failed starts since a rank last joined; empty: none
  std::optional<double> next_start_s;          // until ranks are started again; none: no pause
  Form form;                                   // every rank's
  std::uint64_t weights_loaded_bytes = 0, weights_total_bytes = 0;  // that ranks share; total 0: none
  std::uint64_t n_rebalanced = 0;                                   // requests, since the start
  std::vector<RankStatus> ranks;
  std::optional<cluster::Operation> operation;  // the running one
  std::string waits_for;                        // what is under way waits for; empty: nothing
  std::string checkpoint_change;  // how the model folder's files differ by now; empty: they do not
};

// What the server asks of the rest of the process, in two parts: for clients, and for operators. Everything
// on the one front thread (the io_context's); nothing blocks.
class GenerationService {
 public:
  virtual ~GenerationService() = default;
  virtual const ModelInfo& model() const = 0;
  // Whether requests are taken: ok, or kNotReady (before the first epoch) / kShuttingDown. While no epoch
  // serves they wait in the queue.
  virtual Status admits() const = 0;
  virtual std::size_t max_requests() const = 0;  // of an idle server of this size, those that wait included

  // Places for `n_requests` of `client`, which submit() then takes one by one; or why there are none. A
  // client that has nothing waiting gets one even where the queue is full of another's.
  virtual Status reserve(std::size_t n_requests, ClientId client) = 0;
  virtual void give_back(std::size_t n_requests) = 0;  // reserved and not submitted
  // Takes one of the reserved places, also if it fails. The listener must outlive the request: until its last
  // token, on_failed or cancel().
  virtual Result<RequestId> submit(GenerationRequest request, GenerationListener& listener) = 0;
  virtual void cancel(RequestId request) = 0;  // no call to the listener after this; unknown ids are ignored
};

class ClusterService {
 public:
  virtual ~ClusterService() = default;
  virtual Status ready() const = 0;  // requests are taken and an epoch serves; or why not
  virtual ClusterStatus cluster() const = 0;

  // `done` comes once, when the operation ended (or at once where nothing is to do), with its final record;
  // or an error: a ClusterError, kNotEnoughMemory, kShuttingDown. The returned value is the record right
  // after the request, for "wait": false.
  virtual Result<cluster::Operation> scale(const ScaleRequest& request,
                                           std::function<void(const cluster::Operation&)> done) = 0;
  virtual std::optional<cluster::Operation> operation(const std::string& id) const = 0;
  virtual bool scaling() const = 0;  // an operation runs that another one would have to wait for

  virtual std::size_t n_queued() const = 0, n_running() const = 0;
  virtual std::uint64_t n_operations(cluster::Phase final_phase) const = 0;
  virtual double last_pause_ms() const = 0;
  virtual std::uint64_t n_failed_ranks() const = 0;      // since the start
  virtual std::uint64_t n_rescued_requests() const = 0;  // whose rank died: they went on elsewhere
};

}  // namespace concertina::front
