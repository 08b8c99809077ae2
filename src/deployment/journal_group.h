#pragma once

#include <map>

#include "deployment/journal_fixture.h"

// For tests of the journal with ranks that answer, in virtual time.
namespace concertina::deployment {

// A journal, and ranks that give a token of each request every 25 ms once they have its KV.
class JournalGroup {
 public:
  static constexpr Duration kStep = std::chrono::milliseconds(25);
  struct Sequence {
    Attempt attempt;
    Mode mode;
    Time has_kv_at;
  };
  using Sequences = std::map<RequestId, Sequence>;

  JournalGroup(std::size_t n_ranks, const Journal::RankCapacity& capacity) : journal_(capacity) {
    for (std::uint32_t i = 0; i < n_ranks; ++i) members_.insert(RankId(i));
    tell_members();
  }
  virtual ~JournalGroup() = default;

  // One turn of the journal, and what comes of it.
  template <typename Call>
  void tell(const Call& call) {
    JournalActions actions;
    call(journal_, actions);
    for (const JournalAction& action : actions) std::visit([this](const auto& one) { execute(one); }, action);
  }
  void tell_members() {
    const std::vector<RankId> members(members_.begin(), members_.end());
    tell([&](Journal& journal, auto& actions) { set_members(journal, members, actions); });
  }

  void step(RankId rank) {
    std::vector<RequestId> ids;
    for (const auto& [id, sequence] : ranks_[rank]) ids.push_back(id);
    for (const RequestId id : ids) {
      const auto found = ranks_[rank].find(id);
      if (found == ranks_[rank].end() || now_ < found->second.has_kv_at) continue;
      const Sequence sequence = found->second;
      if (sequence.mode == Mode::kLive) {
        give_token(rank, id, sequence.attempt);
      } else {
        tell([&](Journal& journal, auto& actions) {
          journal.on_caught_up(rank, id, sequence.attempt, actions);
        });
      }
    }
  }

 protected:
  virtual void on_replay(const cluster::Assign&) {}
  virtual void on_drained() {}

  Journal journal_;
  Time now_{std::chrono::seconds(1000)};
  std::set<RankId> members_;
  std::map<RankId, Sequences> ranks_;

 private:
  void give_token(RankId rank, RequestId id, Attempt attempt) {
    const request::Request& request = *journal_.find(id);
    const std::size_t position = request.tokens.size() - request.n_prompt_tokens;
    const bool is_last = position + 1 == request.stop.max_tokens;
    if (is_last) ranks_[rank].erase(id);
    const FinishReason reason = is_last ? FinishReason::kLength : FinishReason::kNone;
    tell([&](Journal& journal, auto& actions) {
      journal.on_token(rank, {id, attempt, position, 7, reason}, actions);
    });
  }

  template <typename Action>
  void execute(const Action&) {}
  void execute(const SendTo& send) {
    std::visit([&](const auto& message) { answer(ranks_[send.to], message); }, send.message);
  }
  void execute(const Drained&) { on_drained(); }

  template <typename Message>
  void answer(Sequences&, const Message&) {}
  void answer(Sequences& sequences, const cluster::Assign& assign) {
    const request::Request& request = assign.request;
    sequences[request.id] = {request.attempt, request.mode, now_ + 4 * kStep};
    if (request.mode == Mode::kReplay) on_replay(assign);
  }
  void answer(Sequences& sequences, const cluster::Drop& drop) { sequences.erase(drop.request); }
  void answer(Sequences& sequences, const cluster::TakeOver& take_over) {
    sequences.at(take_over.request) = {take_over.attempt, Mode::kLive, now_ + kStep};
  }
};

}  // namespace concertina::deployment
