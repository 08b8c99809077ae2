#pragma once

#include <deque>
#include <map>
#include <optional>
#include <variant>
#include <vector>

#include "cluster/observer.h"
#include "deployment/ending.h"
#include "deployment/journal.h"

namespace concertina::deployment {

// ---- Effects: what the host must do, in this order. Those of the coordinator and the journal that concern
// the outside pass through under their own names.
struct Fence {  // nothing of it counts any more: its channel is closed, and if it is local it is killed
  cluster::Member member;
  std::string why;
  cluster::LossCause cause = cluster::LossCause::kOther;
  std::size_t n_requests = 0;  // that it carried
};
using Effect =
    std::variant<cluster::StartRank, cluster::KillRank, Fence, cluster::Send, EmitToken, EmitPromptLogprobs,
                 EmitFailed, cluster::EpochActive, cluster::EpochLost, cluster::OperationEnded,
                 cluster::BootstrapFailed, cluster::GroupLost, cluster::SetTimer>;
using Effects = std::vector<Effect>;

// What a host has still to do. Who asks the deployment again while it carries effects out finds what comes of
// that behind what is left: they are carried out by whoever began.
class EffectQueue {
 public:
  operator Effects&() { return effects_; }  // where the deployment appends
  template <typename Execute>
  void carry_out(const Execute& execute) {
    if (is_carrying_out_) return;
    is_carrying_out_ = true;
    for (std::size_t i = 0; i < effects_.size(); ++i) {
      const Effect effect = std::move(effects_[i]);
      std::visit(execute, effect);
    }
    effects_.clear();
    is_carrying_out_ = false;
  }

 private:
  Effects effects_;
  bool is_carrying_out_ = false;
};

// A process that was started has ended, fenced or not, and was reaped.
struct RankEnded {
  cluster::RankExited exit;
  Ending ending;
};

// All that was sent to the rank is with the kernel.
struct ChannelDrained {
  cluster::Member member;
};

struct Config {
  cluster::CoordinatorConfig cluster;
  // What a rank has room for until its HELLO says it; and the bytes that may be on the way to it.
  Journal::RankCapacity capacity;
  // Whether requests move between ranks that carry unequal shares, as soon as one joins or if it lasts.
  enum class Rebalance : std::uint8_t { kNo, kYes } rebalance = Rebalance::kYes;
  Journal::Broken broken = Journal::Broken::kNothing;
};

// All that is decided for one deployment: the coordinator (who is in the group) and the journal (where
// requests run), and what goes between them and the ranks. Pure: what ranks say, what happened and what
// clients want goes in with the time; effects come out. The hosts are front::Front, the simulator's front and
// tests/threads_test.cc. One owner.
//
// Every call appends its effects.
class Deployment {
  struct State;

 public:
  Deployment(const Config& config, Incarnation first_incarnation);

  // Everything it knows, as a value: a deployment made of it goes on where this one was, whatever is under
  // way. What is the host's (processes, channels, who listens, observers) is not in it.
  using Snapshot = State;
  Snapshot snapshot() const { return state_; }
  Deployment(const Config& config, const Snapshot& snapshot);

  void observe(cluster::Observer& observer) { observers_.push_back(&observer); }  // outlives this

  void know(const cluster::Operation& operation) { state_.coordinator.restore(operation); }  // before start()
  void start(Time now, Effects& effects);                                                    // once

  // What a rank said, on its channel. From ranks that were fenced or have ended nothing counts.
  void hear(const cluster::FromRank& message, Time now, Effects& effects);
  // What happened otherwise: a channel that closed, a timer that rang, a shutdown.
  void tell(const cluster::Event& event, Time now, Effects& effects);
  void tell(const RankEnded& ended, Time now, Effects& effects);
  void tell(const ChannelDrained& drained, Time now, Effects& effects);

  // ---- What clients want. Of a scale: the record right after the request, or why it is refused.
  Result<cluster::Operation> scale(const cluster::ScaleRequested& request, Time now, Effects& effects);
  void submit(request::Request request, ClientId client, Time now, Effects& effects);
  void cancel(RequestId request, Time now, Effects& effects);
  void refuse(RequestId request, const std::string& why, Time now, Effects& effects);  // no rank takes it

  const cluster::Coordinator& coordinator() const { return state_.coordinator; }
  const Journal& journal() const { return state_.journal; }

 private:
  struct Rank {
    cluster::Member member;
    cluster::LinkAddress address, kv_address;  // as its HELLO said
  };
  struct State {
    cluster::Coordinator coordinator;
    Journal journal;
    std::map<RankId, Rank> ranks;   // whose channels are open
    Epoch draining_for;             // the change whose drain the journal is at
    std::optional<Epoch> unproven;  // in force, and no token of it has come
  };
  struct Turn {
    Time now;
    Effects& effects;
  };

  bool is_open(const cluster::Member& member) const;
  void handle(const cluster::Event& event, const Turn& turn);
  void run(const cluster::Actions& first, const Turn& turn);
  template <typename Call>
  void ask_journal(const Turn& turn, const Call& call);
  void carry_out(const JournalActions& actions, const Turn& turn);
  void say_that_it_serves(const Turn& turn);

  template <typename Action>  // one that is the host's
  void execute(const Action& action, const Turn& turn) {
    turn.effects.push_back(action);
  }
  void execute(const cluster::StartRank& start, const Turn& turn);
  void execute(const cluster::Send& send, const Turn& turn);
  void execute(const cluster::FenceRank& fence, const Turn& turn);
  void execute(const cluster::BeginDrain& drain, const Turn& turn);
  void execute(const cluster::CancelDrain& cancel, const Turn& turn);
  void execute(const cluster::EpochActive& active, const Turn& turn);
  void execute(const cluster::EpochLost& lost, const Turn& turn);
  void execute(const SendTo& send, const Turn& turn);
  void execute(const Drained& drained, const Turn& turn);

  template <typename Message>  // one that is the coordinator's, or of no concern here
  void on(const Message& message, const Turn& turn) {
    if constexpr (std::is_constructible_v<cluster::Event, const Message&>) handle(message, turn);
  }
  void on(const cluster::RankHello& hello, const Turn& turn);
  void on(const cluster::StepOutput& output, const Turn& turn);
  void rebalance(const Turn& turn);

  const Config config_;
  State state_;
  std::deque<cluster::Event> events_;  // the coordinator is never called from within its own actions
  bool is_running_ = false;
  std::vector<cluster::Observer*> observers_;
};

}  // namespace concertina::deployment
