#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>

#include "cluster/coordinator.h"
#include "cluster/invariants.h"
#include "front/journal.h"
#include "sim/coverage.h"
#include "sim/world.h"

namespace concertina::sim {

// The front in virtual time: the real coordinator and journal, what src/front does with channels and
// processes around them, clients with requests, and the rules that are checked after each event.
class Front {
 public:
  Front(World& world, Coverage& coverage);
  void start();

  // ---- What ranks and the kernel tell.
  void hear(const cluster::Member& from, const cluster::FromRank& message);
  void see_exit(const cluster::Member& member, const std::string& how);
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
  const cluster::Coordinator& coordinator() const { return coordinator_; }
  std::size_t n_finished() const { return n_finished_; }
  std::string describe() const;

 private:
  struct Stream {
    request::Request request;
    std::vector<TokenId> expected;
    std::size_t n_emitted = 0;
  };

  void handle(const cluster::Event& event);
  void carry_out(const cluster::Actions& actions);
  void check();
  void execute(const cluster::StartRank& start);
  void execute(const cluster::Send& send);
  void execute(const cluster::KillRank& kill);
  void execute(const cluster::FenceRank& fence);
  void execute(const cluster::BeginDrain& drain);
  void execute(const cluster::CancelDrain&);
  void execute(const cluster::EpochActive& active);
  void execute(const cluster::EpochLost&) {}
  void check_outage();
  void execute(const cluster::OperationEnded& ended);
  void execute(const cluster::BootstrapFailed&) { is_over_ = true; }
  void execute(const cluster::GroupLost& lost);
  void execute(const cluster::SetTimer& timer);
  void execute(const front::JournalActions& actions);
  void on_output(const cluster::Member& from, const request::TokenEvent& output);
  void emit(const front::EmitToken& token);
  void finish(RequestId request);

  void send(const cluster::Member& to, cluster::ToRank message);
  void send(RankId to, cluster::ToRank message);
  Rank* open_rank(const cluster::Member& member);

  World& world_;
  Coverage& coverage_;
  cluster::Coordinator coordinator_;
  cluster::Invariants invariants_;
  front::Journal journal_;
  std::deque<cluster::Event> events_;
  enum class Carrying : std::uint8_t { kNothing, kActions } carrying_ = Carrying::kNothing;
  std::map<RankId, cluster::Member> open_;  // channels
  std::set<cluster::Member> fenced_;
  std::map<RankId, Time> last_in_;
  std::map<RequestId, Stream> streams_;
  std::size_t n_refused_ = 0;  // requests that come again
  std::uint64_t timer_ = 0, n_operations_ = 0;
  std::uint64_t next_request_ = 1;
  std::size_t n_finished_ = 0, n_violations_seen_ = 0;
  bool is_over_ = false, is_shutting_down_ = false;
  std::optional<Epoch> unproven_;  // in force, and no token of it was heard
  Time last_token_{};
  std::optional<Time> out_since_;  // no epoch is in force since
};

}  // namespace concertina::sim
