#pragma once

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "deployment/journal.h"

// For the stories of the journal, journal*_test.cc alone.
namespace concertina::deployment {

using request::FinishReason;
using request::Mode;

constexpr RankId kRank0{0}, kRank1{1}, kRank2{2};
constexpr ClientId kClient{1}, kOther{2};

// Of rank 2, say, the incarnation 12.
inline cluster::Member member(RankId rank) { return {rank, Incarnation(10 + rank.value())}; }
inline void set_members(Journal& journal, const std::vector<RankId>& ranks, JournalActions& actions) {
  std::vector<cluster::Member> members;
  for (const RankId rank : ranks) members.push_back(member(rank));
  journal.set_members(members, actions);
}

inline request::Request request(std::uint64_t id, std::size_t n_prompt = 3) {
  request::Request made;
  made.id = RequestId(id);
  for (std::size_t i = 0; i < n_prompt; ++i) made.tokens.push_back(static_cast<TokenId>(100 + i));
  made.n_prompt_tokens = n_prompt;
  return made;
}

template <typename T>
std::vector<T> all_of(const JournalActions& actions) {
  std::vector<T> found;
  for (const JournalAction& action : actions) {
    if (const T* match = std::get_if<T>(&action)) found.push_back(*match);
  }
  return found;
}

// Messages of one kind, and to whom they go.
struct Sent {
  RankId to;
  RequestId request;
  Attempt attempt;
  Mode mode = Mode::kLive;
  std::optional<cluster::Member> kv_source = {};
};
inline Sent describe(RankId to, const cluster::Assign& assign) {
  return {to, assign.request.id, assign.request.attempt, assign.request.mode, assign.kv_source};
}
inline Sent describe(RankId to, const cluster::TakeOver& take_over) {
  return {to, take_over.request, take_over.attempt};
}
template <typename Message>
Sent describe(RankId to, const Message& message) {
  return {to, message.request, {}};
}
template <typename Message>
std::vector<Sent> sent(const JournalActions& actions) {
  std::vector<Sent> found;
  for (const SendTo& send : all_of<SendTo>(actions)) {
    if (const auto* match = std::get_if<Message>(&send.message)) found.push_back(describe(send.to, *match));
  }
  return found;
}

class JournalTest : public ::testing::Test {
 protected:
  JournalActions members(const std::vector<RankId>& ranks) {
    JournalActions actions;
    set_members(journal, ranks, actions);
    return actions;
  }
  JournalActions submit(request::Request made, ClientId client = kClient) {
    JournalActions actions;
    journal.submit(std::move(made), client, actions);
    return actions;
  }
  JournalActions output(RankId from, std::uint64_t id, Attempt attempt, std::size_t position, TokenId token,
                        FinishReason reason = FinishReason::kNone) {
    JournalActions actions;
    journal.on_token(from, {RequestId(id), attempt, position, token, reason}, actions);
    return actions;
  }
  JournalActions drain(std::vector<RankId> leavers) {
    JournalActions actions;
    journal.begin_drain(leavers, actions);
    return actions;
  }
  JournalActions caught_up(RankId from, std::uint64_t id, Attempt attempt, cluster::EpochStep step = {}) {
    JournalActions actions;
    journal.on_caught_up(from, RequestId(id), attempt, actions, step);
    return actions;
  }
  JournalActions told(RankId from, cluster::EpochStep step) {
    JournalActions actions;
    journal.on_step_told(from, step, actions);
    return actions;
  }
  JournalActions cancel(std::uint64_t id) {
    JournalActions actions;
    journal.cancel(RequestId(id), actions);
    return actions;
  }
  JournalActions fence(RankId rank) {
    JournalActions actions;
    journal.fence(rank, actions);
    return actions;
  }
  Journal journal{{.max_num_seqs = 2}};
};

}  // namespace concertina::deployment
