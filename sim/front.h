#pragma once

#include <map>
#include <optional>
#include <set>

#include "cluster/invariants.h"
#include "deployment/deployment.h"
#include "sim/world.h"

namespace concertina::sim {

// The front in virtual time: hosts the real Deployment, with channels that delay, processes that are
// simulated ranks, clients with requests, and the rules that are checked after each event. Now and then it is
// replaced by another one that knows what a snapshot holds.
class Front {
 public:
  explicit Front(World& world);
  void start();

  // ---- What ranks and the kernel tell.
  void hear(const cluster::Member& from, const cluster::FromRank& message);
  void see_exit(const deployment::RankEnded& ended);
  void lose_channel(const cluster::Member& member);

  // ---- Clients and operators.
  void submit(std::size_t index);  // again later while the server answers 503
  void cancel_some_request();
  void request_scale();
  void begin_shutdown();

  bool is_fenced(const cluster::Member& member) const { return fenced_.contains(member); }
  bool is_over() const { return is_over_; }  // no rank left and none to come: allowed, and the end
  bool is_calm() const;                      // nothing under way, every admitted request finished
  void at_rest();
  const cluster::Coordinator& coordinator() const { return deployment_->coordinator(); }
  std::size_t n_finished() const { return n_finished_; }
  std::string describe() const;

 private:
  struct Stream {
    request::Request request;
    std::vector<TokenId> expected;
    std::size_t n_emitted = 0;
  };

  void observe();
  void tell(const cluster::Event& event);
  void carry_out();  // effects_
  void hear_again(const cluster::FromRank& message);
  void replace_front();
  void check();
  void check_outage();
  void execute(const cluster::StartRank& start);
  void execute(const cluster::KillRank& kill);
  void execute(const deployment::Fence& fence);
  void execute(const cluster::Send& send);
  void execute(const deployment::EmitToken& token);
  void execute(const deployment::EmitPromptLogprobs&) {}
  void execute(const deployment::EmitFailed& failed);
  void execute(const cluster::EpochActive& active);
  void execute(const cluster::EpochLost&) {}
  void execute(const cluster::OperationEnded& ended);
  void execute(const cluster::BootstrapFailed&) { is_over_ = true; }
  void execute(const cluster::GroupLost& lost);
  void execute(const cluster::SetTimer& timer);
  void finish(RequestId request);

  Time now() const { return world_.schedule.now(); }
  Rank* open_rank(const cluster::Member& member);

  World& world_;
  std::optional<deployment::Deployment> deployment_;
  deployment::EffectQueue effects_;
  cluster::Invariants invariants_;
  Random replacing_;                        // of its own, so that all else is as without
  std::map<RankId, cluster::Member> open_;  // channels
  std::set<cluster::Member> fenced_;
  std::map<RankId, Time> last_in_;
  std::map<RequestId, Stream> streams_;
  std::size_t n_refused_ = 0;  // requests that come again
  std::uint64_t timer_ = 0, n_operations_ = 0;
  std::uint64_t next_request_ = 1;
  std::size_t n_finished_ = 0, n_violations_seen_ = 0;
  bool is_over_ = false, is_shutting_down_ = false;
  Time last_token_{};
  std::optional<Time> out_since_;  // no epoch is in force since
};

}  // namespace concertina::sim
