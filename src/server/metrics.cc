#include "server/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <map>

#include "base/log.h"

namespace concertina::server {

using Labels = std::map<std::string, std::string>;
using Buckets = prometheus::Histogram::BucketBoundaries;

struct Metrics::State {
  explicit State(const std::string& model_name) : labels{{"model_name", model_name}} {}

  prometheus::Counter& counter(const char* name, const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add(labels);
  }
  prometheus::Gauge& gauge(const char* name, const char* help, Labels more = {}) {
    more.insert(labels.begin(), labels.end());
    return prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add(more);
  }
  prometheus::Histogram& histogram(const char* name, const char* help, const Buckets& buckets) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add(labels, buckets);
  }

  Labels labels;
  prometheus::Registry registry;
  // vLLM's buckets.
  const Buckets first_token_s{0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,  0.25,  0.5,   0.75,
                              1.0,   2.5,   5.0,  7.5,  10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0};
  const Buckets next_token_s{0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2,  0.3,  0.4, 0.5,
                             0.75, 1.0,   2.5,  5.0,   7.5, 10.0, 20.0, 40.0, 80.0};
  const Buckets request_s{0.3,  0.5,  0.8,  1.0,  1.5,   2.0,   2.5,   5.0,   10.0,   15.0,  20.0,
                          30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0};

  prometheus::Gauge& running = gauge("vllm:num_requests_running", "Requests that ranks are computing.");
  prometheus::Gauge& waiting =
      gauge("vllm:num_requests_waiting", "Requests that wait for a place or for KV blocks.");
  prometheus::Gauge& kv_usage =
      gauge("vllm:kv_cache_usage_perc", "KV blocks in use, over all ranks; 1 is all of them.");
  prometheus::Counter& prompt_tokens = counter("vllm:prompt_tokens_total", "Prompt tokens taken in.");
  prometheus::Counter& generation_tokens = counter("vllm:generation_tokens_total", "Tokens generated.");
  prometheus::Family<prometheus::Counter>& success = prometheus::BuildCounter()
                                                         .Name("vllm:request_success_total")
                                                         .Help("Requests that ended, by reason.")
                                                         .Register(registry);
  prometheus::Histogram& first_token =
      histogram("vllm:time_to_first_token_seconds", "From arrival to the first token.", first_token_s);
  prometheus::Histogram& next_token = histogram("vllm:inter_token_latency_seconds",
                                                "From one token to the next of its stream.", next_token_s);
  prometheus::Histogram& request =
      histogram("vllm:e2e_request_latency_seconds", "From arrival to the last token.", request_s);
  prometheus::Gauge& epoch = gauge("concertina_epoch", "Number of the epoch in force.");
  prometheus::Gauge& size = gauge("concertina_size", "Ranks of the epoch in force.");
  prometheus::Family<prometheus::Gauge>& ranks =
      prometheus::BuildGauge().Name("concertina_ranks").Help("Rank processes by state.").Register(registry);
  prometheus::Gauge& scaling = gauge("concertina_scaling", "1 while an operation is running.");
  prometheus::Gauge& last_pause =
      gauge("concertina_last_pause_seconds",
            "Longest time that a rank was between two epochs in the last operation.");
};

Metrics::Metrics(const std::string& model_name) : state_(std::make_unique<State>(model_name)) {}
Metrics::~Metrics() = default;

namespace {
double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }
}  // namespace

void Metrics::on_prompt(std::size_t n_tokens) {
  state_->prompt_tokens.Increment(static_cast<double>(n_tokens));
}

void Metrics::on_first_token(Duration since_arrival) {
  state_->generation_tokens.Increment();
  state_->first_token.Observe(seconds(since_arrival));
}

void Metrics::on_next_token(Duration since_last) {
  state_->generation_tokens.Increment();
  state_->next_token.Observe(seconds(since_last));
}

void Metrics::on_finished(const char* reason, Duration since_arrival) {
  Labels labels = state_->labels;
  labels["finished_reason"] = reason;
  state_->success.Add(labels).Increment();
  state_->request.Observe(seconds(since_arrival));
}

namespace {

// What others count, and what each rank there is counts: made anew each time, so that no series outlives its
// rank.
class Snapshot {
 public:
  explicit Snapshot(Labels labels) : labels_(std::move(labels)) {}

  template <typename Builder>  // prometheus::BuildCounter(), BuildGauge()
  void add(Builder builder, const char* name, const char* help, double value, Labels more = {}) {
    more.insert(labels_.begin(), labels_.end());
    builder.Name(name).Help(help).Register(registry_).Add(more).Increment(value);
  }
  std::string text() const { return prometheus::TextSerializer().Serialize(registry_.Collect()); }

 private:
  const Labels labels_;
  prometheus::Registry registry_;
};

void add_moves(Snapshot& out, const cluster::KvMoves& moves, const std::string& rank) {
  const auto add = [&](const char* name, const char* help, std::uint64_t n) {
    out.add(prometheus::BuildCounter(), name, help, static_cast<double>(n), {{"rank", rank}});
  };
  add("concertina_kv_moved_requests_total",
      "Requests that came to a rank after another had computed some of them, since its start.",
      moves.n_requests);
  add("concertina_kv_moved_tokens_copied_total", "Tokens of these whose KV was copied.",
      moves.n_tokens_copied);
  add("concertina_kv_moved_tokens_recomputed_total",
      "Tokens of these, known when they came, that were computed again.", moves.n_tokens_recomputed);
  add("concertina_kv_moved_copies_failed_total",
      "Of these requests, those of which nothing could be copied: no room, no record, or a source that is "
      "not "
      "trusted.",
      moves.n_copies_failed);
}

void add_rank(Snapshot& out, const front::RankStatus& rank) {
  const std::string id = fmt::format("{}", rank.rank);
  out.add(prometheus::BuildGauge(), "concertina_requests_awaiting_grammar",
          "Requests of a rank whose structure's grammar it still compiles: others go on meanwhile.",
          static_cast<double>(rank.stats.n_held), {{"rank", id}});
  out.add(prometheus::BuildGauge(), "concertina_rank_waited_for_seconds",
          "Time that peers spent waiting for a rank, in the epoch in force. A slow rank stands out.",
          rank.waited_for_ms / 1000, {{"rank", id}});
  out.add(prometheus::BuildCounter(), "concertina_nonfinite_logits_total",
          "Requests that a rank ended since the model gave no finite logits, since its start.",
          static_cast<double>(rank.stats.n_nonfinite_logits), {{"rank", id}});
  add_moves(out, rank.stats.kv_moves, id);
  const cluster::MoeTimes& times = rank.stats.moe_times;
  out.add(prometheus::BuildCounter(), "concertina_moe_layers_total",
          "MoE layers that a rank computed, since its start.", static_cast<double>(times.n_layers),
          {{"rank", id}});
  for (const auto& [part, ms] : {std::pair{"route", times.route_ms},
                                 {"dispatch", times.dispatch_ms},
                                 {"wait", times.wait_ms},
                                 {"compute", times.compute_ms},
                                 {"combine", times.combine_ms}}) {
    out.add(prometheus::BuildCounter(), "concertina_moe_seconds_total",
            "Where the time of a rank's MoE layers went, since its start: route, dispatch, wait, compute, "
            "combine.",
            ms / 1000, {{"rank", id}, {"part", part}});
  }
}

std::string text_of_now(const front::ClusterService& service, const front::ClusterStatus& cluster,
                        const Labels& labels) {
  Snapshot out(labels);
  for (const front::RankStatus& rank : cluster.ranks) add_rank(out, rank);
  out.add(prometheus::BuildGauge(), "concertina_wanted_ranks", "Ranks that there should be.",
          static_cast<double>(cluster.wanted_size));
  out.add(prometheus::BuildGauge(), "concertina_missing_ranks",
          "Ranks short of the wanted size; they are tried again as long as it lasts.",
          static_cast<double>(cluster.n_missing));
  out.add(prometheus::BuildCounter(), "concertina_failed_starts_total",
          "Starts of ranks that failed; ranks started together and lost together count once.",
          static_cast<double>(cluster.n_failed_starts));
  out.add(prometheus::BuildCounter(), "concertina_failed_ranks_total", "Ranks that were lost.",
          static_cast<double>(service.n_failed_ranks()));
  out.add(prometheus::BuildCounter(), "concertina_rescued_requests_total",
          "Requests that went on elsewhere after their rank was lost.",
          static_cast<double>(service.n_rescued_requests()));
  out.add(prometheus::BuildCounter(), "concertina_rebalanced_requests_total",
          "Requests that moved to another rank because ranks carried unequal shares.",
          static_cast<double>(cluster.n_rebalanced));
  out.add(prometheus::BuildCounter(), "concertina_log_dropped_total",
          "Lines of the front's log that were dropped because nobody read them.",
          static_cast<double>(n_dropped_log_lines()));
  out.add(
      prometheus::BuildGauge(), "concertina_checkpoint_changed",
      "1 when the model folder's files on disk (weights, tokenizer, template, defaults) are no longer those "
      "that this server loaded.",
      cluster.checkpoint_change.empty() ? 0 : 1);
  for (const cluster::Phase phase :
       {cluster::Phase::kDone, cluster::Phase::kFailed, cluster::Phase::kRolledBack}) {
    out.add(prometheus::BuildCounter(), "concertina_operations_total",
            "Scale operations that ended, by outcome.", static_cast<double>(service.n_operations(phase)),
            {{"outcome", cluster::name_of(phase)}});
  }
  return out.text();
}

}  // namespace

std::string Metrics::text(const front::ClusterService& service) {
  State& s = *state_;
  const front::ClusterStatus cluster = service.cluster();
  s.running.Set(static_cast<double>(service.n_running()));
  s.waiting.Set(static_cast<double>(service.n_queued()));
  double used = 0, total = 0;
  std::map<std::string, int> by_state{{"joining", 0}, {"active", 0}, {"leaving", 0}, {"failed", 0}};
  for (const front::RankStatus& rank : cluster.ranks) {
    used += static_cast<double>(rank.stats.kv_blocks_used);
    total += static_cast<double>(rank.stats.kv_blocks_total);
    ++by_state[cluster::name_of(rank.state)];
  }
  s.kv_usage.Set(total > 0 ? used / total : 0);
  for (const auto& [name, n] : by_state) {
    Labels labels = s.labels;
    labels["state"] = name;
    s.ranks.Add(labels).Set(n);
  }
  s.epoch.Set(static_cast<double>(cluster.epoch.value()));
  s.size.Set(static_cast<double>(cluster.size));
  s.scaling.Set(service.scaling() ? 1 : 0);
  s.last_pause.Set(service.last_pause_ms() / 1000);
  return prometheus::TextSerializer().Serialize(s.registry.Collect()) +
         text_of_now(service, cluster, s.labels);
}

}  // namespace concertina::server
