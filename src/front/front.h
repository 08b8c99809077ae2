#pragma once

#include <deque>
#include <map>
#include <memory>
#include <unordered_map>

#include "cluster/coordinator.h"
#include "front/journal.h"
#include "front/launcher.h"
#include "front/options.h"
#include "front/service.h"
#include "front/state_store.h"
#include "transport/control.pb.h"
#include "transport/event_loop.h"

namespace concertina::transport {
class ControlChannel;
enum class Sent : std::uint8_t;
}  // namespace concertina::transport

namespace concertina::front {

// The shell around the coordinator and the journal: starts ranks, carries their frames, timers and exits to
// the pure parts and executes what these decide. Lives on one EventLoop thread, the only one that starts
// ranks.
//
// Ranks that die are recovered from, as the coordinator decides; `on_fatal` is called only when the first
// ranks do not start, or no epoch has served for --group-lost-timeout.
class Front : public Service {
 public:
  // `state` keeps operations and the wanted size; null: nothing outlives the process.
  Front(transport::EventLoop& loop, FrontOptions options, ModelInfo model,
        std::unique_ptr<StateStore> state = nullptr);
  ~Front() override;

  // Starts the first ranks. `on_ready` once, when the first epoch is active; `on_fatal` at most once, when
  // serving is over for a reason worth exit code 1.
  void start(std::function<void()> on_ready, std::function<void(const Error&)> on_fatal);

  // The checkpoint's files are no longer what was found at the start; `what` says how. Ranks that hold
  // weights in memory go on. Where they map the files, weights may have changed under running requests: these
  // fail, and no other is taken. Once.
  void on_checkpoint_changed(const std::string& what);
  // So are files that only this process reads: the tokenizer, the chat template, defaults. Once.
  void on_texts_changed(const std::string& what);

  // Takes no more requests; when those running have finished, or at the deadline, stops the ranks;
  // `on_stopped` once all are reaped.
  void begin_shutdown(std::function<void()> on_stopped);
  void stop_now();  // second Ctrl-C: does not wait for requests

  const ModelInfo& model() const override { return model_; }
  Status admits() const override;
  bool ready() const override;
  Status reserve(std::size_t n_requests, ClientId client) override;
  void give_back(std::size_t n_requests) override;
  Result<RequestId> submit(GenerationRequest request, GenerationListener& listener) override;
  void cancel(RequestId request) override;
  Result<cluster::Operation> scale(const ScaleRequest& request,
                                   std::function<void(const cluster::Operation&)> done) override;
  std::optional<cluster::Operation> operation(const std::string& id) const override;
  bool scaling() const override;
  ClusterStatus cluster() const override;
  std::size_t max_requests() const override;
  std::size_t n_queued() const override;
  std::size_t n_running() const override;
  std::uint64_t n_operations(cluster::Phase final_phase) const override;
  double last_pause_ms() const override { return last_pause_ms_; }
  std::uint64_t n_failed_ranks() const override { return coordinator_.n_fenced(); }
  std::uint64_t n_rescued_requests() const override { return journal_.n_rescued(); }

 private:
  struct Rank {
    cluster::Member member;
    std::unique_ptr<LocalProcess> process;
    std::unique_ptr<transport::ControlChannel> channel;  // null: closed
    transport::LinkAddress link;
    std::vector<int> cores;                          // of its compute threads; empty: any
    std::unique_ptr<transport::Timer> exit_follows;  // its channel has closed
    std::size_t n_running = 0, n_waiting = 0, kv_blocks_used = 0, kv_blocks_total = 0;
    std::string failure;                     // what it said before it ended
    std::optional<Ending::Cause> fenced_as;  // known when it was fenced; else its exit tells
    std::map<RankId, double> waited_ms;      // for each peer, as it last said
    MoeTimes moe_times;                      // as it last said
    std::uint64_t n_nonfinite_logits = 0;
  };
  void tell_if_serving();
  void log_shortage() const;

  enum class Life : std::uint8_t { kServing, kShuttingDown, kStoppingRanks, kStopped };

  // front_ranks.cc: what ranks say and what the coordinator decides
  void handle(const cluster::Event& event);
  void carry_out(const cluster::Actions& actions);
  void execute_one(const cluster::Action& action);
  void start_rank(const cluster::Member& member);
  void on_frame(const cluster::Member& from, const transport::Frame& frame);
  void on_prepare_failed(const cluster::Member& from, const transport::PrepareFailed& failed);
  void on_hello(Rank& rank, const transport::Hello& hello);
  void on_step_output(Rank& rank, const transport::StepOutput& output);
  void on_stats(Rank& rank, const transport::Stats& stats);
  void on_rank_exit(const cluster::Member& member, const Ending& exit);
  void on_channel_closed(const cluster::Member& member, const Error& why);
  void on_channel_drained(const cluster::Member& member);
  Ending ending_of(const Rank& rank, const Ending& ending);
  void fence(const cluster::FenceRank& fence);
  void send(const cluster::Member& to, const transport::Frame& frame);
  transport::Sent send(RankId to, const transport::Frame& frame);
  Rank* find_rank(const cluster::Member& member);
  std::vector<int> cores_for_a_rank() const;
  void end_operation(const cluster::Operation& operation);
  void keep(const cluster::Operation& operation);
  void lose_group(const Error& error);

  Status check_room(const ScaleRequest& request) const;
  Result<scheduler::Request> to_request(GenerationRequest request) const;

  // front_requests.cc: what the journal decides
  void execute(const JournalActions& actions);
  void emit(const EmitToken& token);
  void send_assign(const SendAssign& assign, const scheduler::Request& request);
  void fail_all_requests(const Error& error);

  // front.cc: shutdown
  void stop_ranks();
  void leave_unreaped();
  void on_all_ranks_ended();
  void check_shutdown();

  transport::EventLoop& loop_;
  const FrontOptions options_;
  const ModelInfo model_;
  const std::unique_ptr<StateStore> state_;
  cluster::Coordinator coordinator_;
  Journal journal_;
  std::deque<cluster::Event> events_;  // what happened while actions were carried out: handled after them
  enum class Carrying : std::uint8_t { kNothing, kActions } carrying_ = Carrying::kNothing;
  std::map<RankId, Rank> ranks_;
  std::vector<std::unique_ptr<LocalProcess>> ended_;  // reaped; destroyed outside their own callbacks
  std::unordered_map<RequestId, GenerationListener*> listeners_;
  std::unordered_map<std::string, std::vector<std::function<void(const cluster::Operation&)>>> waiters_;
  std::function<void()> on_ready_, on_stopped_;
  std::function<void(const Error&)> on_fatal_;
  transport::Timer coordinator_timer_, shutdown_timer_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);  // posted functions hold it weakly
  std::optional<std::uint64_t> n_memory_kills_;  // in this control group, those of earlier ranks included
  RequestId next_request_{1};
  std::size_t n_reserved_ = 0;  // places promised to requests that are still to be submitted
  std::uint64_t next_operation_ = 1;
  double last_pause_ms_ = 0;
  std::string checkpoint_change_;        // empty: none
  std::string texts_change_;             // empty: none
  std::optional<Epoch> unproven_epoch_;  // in force, and no token of it has come
  Life life_ = Life::kServing;
};

}  // namespace concertina::front
