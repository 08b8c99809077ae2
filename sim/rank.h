#pragma once

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <optional>

#include "exchange/protocol/step_protocol.h"
#include "rank/rank_protocol.h"
#include "sim/incoming_kv.h"
#include "sim/kv_memory.h"
#include "sim/world.h"

namespace concertina::sim {

// One rank as a process in virtual time: the real protocols of ranks and of steps and the real scheduler
// around a toy model; what the worker's step loop, link and loader do with threads, as a state machine. Rules
// of docs/epoch_protocol.md in brackets.
class Rank : private rank::Sight {
 public:
  Rank(World& world, const cluster::Member& member);

  // ---- From outside.
  void start();                           // the process is up: hello, heartbeats
  void receive(cluster::ToRank message);  // of the control channel, in its order
  void close_channel();                   // the front's end was closed: it exits when it notices
  using Reason = cluster::RankExited::Reason;
  void kill(const deployment::Ending& how, Reason reason = Reason::kUnknown);
  void go_wild();  // it writes garbage into its KV, and crashes a little later
  void stop();     // SIGSTOP
  void resume();   // SIGCONT
  void slow_down(int factor) { slowness_ = factor; }
  void ask_to_leave();
  void ring();  // its doorbell: it looks again

  bool is_alive() const { return life_ != Life::kEnded; }
  const cluster::Member& member() const { return member_; }
  KvMemory& kv() { return kv_; }
  std::string describe() const;

 private:
  enum class Life : std::uint8_t { kRunning, kStopped, kWild, kEnded };
  enum class At : std::uint8_t { kBetween, kDispatch, kComputing, kResult };
  using Half = exchange::Half;
  class Peer;  // as this rank reaches it
  enum class Progressed : std::uint8_t { kNo, kYes };

  struct Entry {
    Row row;
    std::uint32_t expert;
  };
  // Exchange memory: written by this rank alone, read by its peers, also after its death. A header is seen
  // when it has arrived; what it speaks of lies there before.
  struct Bank {
    std::map<RankId, exchange::Header> headers[2];  // of each half, by reader
    std::vector<Entry> entries;                     // grouped by reader: its header says where
    std::vector<Row> results;                       // likewise
    exchange::Position entries_of, results_of;  // what was written last: to notice reads that are too late
  };
  struct View {  // an epoch as this rank sees it
    cluster::EpochPlan plan;
    std::vector<std::vector<std::uint32_t>> owner;  // [layer][expert]: index of a member
    exchange::Group group;
  };
  struct Sent {  // where the k-th result of a row comes from
    std::size_t member, index;
  };

  void end(const deployment::Ending& how, Reason reason = Reason::kUnknown);
  void report(cluster::FromRank message);
  void beat();
  void handle(cluster::ToRank& message);

  // Loader.
  void load(const cluster::EpochPlan& plan);
  std::optional<cluster::Member> find_ended(const cluster::EpochPlan& plan) const;
  std::shared_ptr<const exchange::PeerLink> connect(const cluster::Member& peer);
  std::shared_ptr<const View> make_view(const cluster::EpochPlan& plan);

  // Step loop.
  void wake();
  Progressed between();
  void apply(cluster::Assign& message);
  void apply(cluster::Feed& message);
  void apply(cluster::TakeOver& message);
  void apply(cluster::Drop& message);
  void apply(cluster::Prepare&) {}
  void apply(cluster::Freeze& message);
  void apply(cluster::Forget&) {}
  void apply(cluster::SourceEnded& message) { incoming_.on(message); }
  template <typename Message>
  void apply(Message& message) {  // the others about epochs
    protocol_.on(message, now(), actions_);
  }
  void perform();  // actions_, and forgets them
  void perform(const rank::CommitPlan&);
  void perform(const rank::EnterEpoch& enter);
  void perform(const rank::DiscardEpoch& discard) { prepared_.erase(discard.epoch); }
  void perform(const rank::Freeze& freeze);

  bool has_plan() override;
  bool peer_started_step() override { return steps_.peer_started(); }
  bool peer_started_epoch(Epoch epoch) override { return steps_.peer_started(prepared_.at(epoch)->group); }
  Time now() override { return world_.schedule.now(); }

  void begin_step();
  void compute_rows(const scheduler::StepPlan& plan);
  enum class Kv : std::uint8_t { kScratch, kFinal };
  void write_kv(const scheduler::StepPlan& plan, Kv kv);
  void void_step();
  void commit_step();
  void check_flip(Epoch from, StepId step);

  // Exchange.
  Bank& bank_of(std::size_t member) const;  // of the exchange under way
  void write_dispatch();
  void await(Half half);
  bool take_arrived(Half half);
  void watch_wait(Half half);
  void begin_compute();
  void end_compute();
  void check_read(std::size_t writer, const exchange::Position& found);
  void finish_exchange();

  World& world_;
  const cluster::Member member_;
  Life life_ = Life::kRunning;
  int slowness_ = 1;
  enum class Channel : std::uint8_t { kOpen, kClosed } channel_ = Channel::kOpen;
  std::deque<cluster::ToRank> unread_;  // arrived while it was stopped
  Time last_out_{};
  std::map<RankId, Time> last_header_;
  enum class Wake : std::uint8_t { kNone, kDue } wake_ = Wake::kNone;

  exchange::StepProtocol steps_;
  KvMemory kv_;
  scheduler::Scheduler scheduler_;
  IncomingKv incoming_;
  std::deque<cluster::ToRank> inbox_;
  rank::RankProtocol protocol_;
  rank::Actions actions_;
  std::map<Epoch, std::shared_ptr<const View>> prepared_;  // null: as a leaver
  Epoch obsolete_epoch_;
  std::shared_ptr<const View> view_;
  bool is_aborted_ = false;

  At at_ = At::kBetween;
  const scheduler::StepPlan* plan_ = nullptr;
  std::vector<Row> rows_;
  std::vector<std::vector<Sent>> sent_;  // [row][k]
  std::uint64_t n_loaded_ = 0, n_waits_ = 0;
  std::array<Bank, exchange::kBanks> memory_;
};

}  // namespace concertina::sim
