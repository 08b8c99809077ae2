#pragma once

#include <map>
#include <memory>
#include <unordered_map>

#include "base/gate.h"
#include "base/lifetime.h"
#include "deployment/deployment.h"
#include "deployment/shutdown.h"
#include "front/options.h"
#include "front/service.h"
#include "front/state_store.h"
#include "launcher/rank_process.h"
#include "transport/control.pb.h"
#include "transport/event_loop.h"

namespace concertina::transport {
class ControlChannel;
class Frame;
enum class Sent : std::uint8_t;
}  // namespace concertina::transport

namespace concertina::front {

// The host of a deployment::Deployment: starts ranks, carries their frames, timers and exits to it and does
// what it decides; and what clients and operators see of it. Lives on one EventLoop thread, the only one that
// starts ranks.
//
// Ranks that die are recovered from, as the coordinator decides; `on_fatal` is called only when the first
// ranks do not start, or no epoch has served for --group-lost-timeout.
class Front : public GenerationService, public ClusterService {
 public:
  // `state` keeps operations and the wanted size; null: nothing outlives the process.
  Front(transport::EventLoop& loop, FrontOptions options, ModelInfo model,
        launcher::StartProcess start_process, std::unique_ptr<StateStore> state = nullptr);
  ~Front() override;

  void on_weights_progress(std::uint64_t loaded_bytes) { weights_loaded_bytes_ = loaded_bytes; }
  void know(const cluster::Operation& operation) { deployment_.know(operation); }  // kept; before start()
  // Starts the first ranks. `on_ready` once, when the first epoch is active; `on_fatal` at most once, when
  // serving is over for a reason worth exit code 1.
  void start(std::function<void()> on_ready, std::function<void(const Error&)> on_fatal);

  // The checkpoint's files are no longer what was found at the start; `what` says how. Ranks that hold
  // weights in memory go on. Where they map the files, weights may have changed under running requests: these
  // fail, and no other is taken. Once.
  void on_checkpoint_changed(const std::string& what);
  // How to look at the checkpoint's files now: `looked` comes in another turn, after on_checkpoint_changed if
  // they changed. Asked before a request is told that the model gave no numbers while ranks map the files:
  // other files are the reason then.
  using LookAtCheckpoint = std::function<void(std::function<void()> looked)>;
  void set_look_at_checkpoint(LookAtCheckpoint look) { look_at_checkpoint_ = std::move(look); }
  // So are files that only this process reads: the tokenizer, the chat template, defaults. Once.
  void on_texts_changed(const std::string& what);

  // Takes no more requests; when those running have finished, or at the deadline, stops the ranks;
  // `on_stopped` once all are reaped.
  void begin_shutdown(std::function<void()> on_stopped);
  void stop_now();  // second Ctrl-C: does not wait for requests

  const ModelInfo& model() const override { return model_; }
  Status admits() const override;
  Status ready() const override;
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
  std::uint64_t n_failed_ranks() const override { return coordinator().n_fenced(); }
  std::uint64_t n_rescued_requests() const override { return journal().n_rescued(); }

 private:
  struct Rank {
    cluster::Member member;
    std::unique_ptr<launcher::RankProcess> process;
    std::unique_ptr<transport::ControlChannel> channel;  // null: closed
    std::unique_ptr<transport::Timer> exit_follows;      // its channel has closed
    cluster::RankStats stats;                            // as it last said
    std::optional<RankLoad> load = RankLoad{};           // none: it has what it was asked to load
    std::string failure;                                 // what it said before it ended
    std::optional<deployment::Ending::Cause> fenced_as;  // known when it was fenced; else its exit tells
  };
  struct Running {  // a request
    GenerationListener* listener;
    Gate::Pass pass;
  };

  const cluster::Coordinator& coordinator() const { return deployment_.coordinator(); }
  const deployment::Journal& journal() const { return deployment_.journal(); }

  // front_ranks.cc: what ranks say and do, and what is decided about them
  void tell(const cluster::Event& event);
  void carry_out();  // effects_
  void execute(const cluster::StartRank& start);
  void execute(const cluster::KillRank& kill);
  void execute(const deployment::Fence& fence);
  void execute(const cluster::Send& send);
  void execute(const cluster::EpochActive& active);
  void execute(const cluster::EpochLost& lost);
  void execute(const cluster::OperationEnded& ended) { end_operation(ended.operation); }
  void execute(const cluster::BootstrapFailed& failed) { lose_group(failed.error); }
  void execute(const cluster::GroupLost& lost) { lose_group(lost.error); }
  void execute(const cluster::SetTimer& timer);
  void on_frame(const cluster::Member& from, const transport::Frame& frame);
  void look_at(Rank& rank, const cluster::FromRank& message);
  bool refuses(Rank& rank, const cluster::RankHello& hello);
  void on_rank_exit(const cluster::Member& member, const deployment::Ending& exit);
  void on_channel_closed(const cluster::Member& member, const Error& why);
  deployment::Ending ending_of(const Rank& rank, const deployment::Ending& ending);
  Rank* find_rank(const cluster::Member& member);
  void log_failed_starts();

  // front_operations.cc: what operators want and see
  Status check_room(const ScaleRequest& request) const;
  void end_operation(const cluster::Operation& operation);
  void keep(const cluster::Operation& operation);

  // front_requests.cc: what clients want, and their tokens
  Status check_vocabulary(const GenerationRequest& request) const;
  Result<request::Request> to_request(GenerationRequest request) const;
  void execute(const deployment::EmitToken& token);
  void execute(const deployment::EmitPromptLogprobs& scored);
  void execute(const deployment::EmitFailed& failed);
  void tell_failed(const deployment::EmitFailed& failed);
  void tell_after_a_look(const deployment::EmitFailed& failed);
  void tell_awaiting_look();
  void fail_all_requests(const Error& error);

  // front_shutdown.cc: how all of it ends
  void lose_group(const std::string& why);
  void shut_down(deployment::Shutdown::Event event);
  void perform(deployment::Shutdown::Act act);
  void refuse_requests();
  void release_ranks();
  void log_overdue() const;

  transport::EventLoop& loop_;
  const FrontOptions options_;
  const ModelInfo model_;
  const std::unique_ptr<StateStore> state_;
  const launcher::StartProcess start_process_;
  deployment::Deployment deployment_;
  deployment::EffectQueue effects_;
  std::uint64_t n_failed_starts_ = 0;  // told of in the log
  std::map<RankId, Rank> ranks_;
  std::vector<std::unique_ptr<launcher::RankProcess>>
      ended_;  // reaped; destroyed outside their own callbacks
  deployment::Shutdown shutdown_;
  Gate requests_;  // closed when no more are taken
  std::unordered_map<RequestId, Running> running_;
  std::unordered_map<std::string, std::vector<std::function<void(const cluster::Operation&)>>> waiters_;
  std::function<void()> on_ready_, on_stopped_;
  std::function<void(const Error&)> on_fatal_;
  transport::Timer coordinator_timer_, shutdown_timer_, look_timer_;
  LookAtCheckpoint look_at_checkpoint_;             // none: nobody watches them
  std::vector<deployment::EmitFailed> await_look_;  // failures whose reason may be the files
  std::optional<std::uint64_t> n_memory_kills_;     // in this control group, those of earlier ranks included
  RequestId next_request_{1};
  std::size_t n_reserved_ = 0;  // places promised to requests that are still to be submitted
  std::uint64_t next_operation_ = 1;
  double last_pause_ms_ = 0;
  std::uint64_t weights_loaded_bytes_ = 0;  // of options_.weights_bytes, all of which are there at start()
  std::string checkpoint_change_;           // empty: none
  std::string texts_change_;                // empty: none
  Lifetime lifetime_;                       // last: what is posted does nothing once this ends
};

}  // namespace concertina::front
