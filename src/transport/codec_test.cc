#include "transport/codec.h"

#include <gtest/gtest.h>

#include <limits>

#include "transport/error.h"

namespace concertina::transport {
namespace {

using cluster::FromRank;
using cluster::ToRank;

constexpr cluster::Member kRank{RankId(3), Incarnation(1ull << 60)};

// Every field differs from its default, so that one which does not travel is noticed; a field that is new
// here, too: a pattern must name them all.
request::SamplingParams sampling() {
  request::SamplingParams params{0.7f, -1, 0.5f, 0.1f, ~0ull, 127, 1.1f, -2.0f, 0.3f};
  const auto& [temperature, top_k, top_p, min_p, seed, choice_index, repetition, frequency, presence] =
      params;
  (void)temperature, (void)top_k, (void)top_p, (void)min_p, (void)seed, (void)choice_index;
  (void)repetition, (void)frequency, (void)presence;
  return params;
}

constexpr float kInfinity = std::numeric_limits<float>::infinity();

request::TokenRules rules() {
  request::TokenRules made{{{3, -100.0f}, {9, 0.1f}}, {4, 5}, {{1}, {2, 3, 4}}, {7, {8, 9}, {5}, {6}}};
  const auto& [logit_bias, allowed, bad_words, thinking] = made;
  const auto& [n_tokens, end, other_end, begin] = thinking;
  (void)logit_bias, (void)allowed, (void)bad_words, (void)n_tokens, (void)end, (void)other_end, (void)begin;
  return made;
}

request::Structure structure() {
  request::Structure made{request::StructureLanguage::kChoice, std::string("[\"a\"]\0\xff", 7), {8, 9}, 7};
  const auto& [language, source, begins_after, thought_begin] = made;
  (void)language, (void)source, (void)begins_after, (void)thought_begin;
  return made;
}

request::LogprobParams logprobs() {
  request::LogprobParams made{0, 20, 7};
  const auto& [n_top, n_prompt_top, next_prompt_position] = made;
  (void)n_top, (void)n_prompt_top, (void)next_prompt_position;
  return made;
}

request::Request request() {
  request::Request made{.id = RequestId(~0ull),
                        .attempt = Attempt(~0u),
                        .tokens = {1, std::numeric_limits<TokenId>::max(), 0},
                        .n_prompt_tokens = 2,
                        .sampling = sampling(),
                        .stop = {7, true, {4, 5}, {6}, 3},
                        .mode = request::Mode::kReplay,
                        .rules = rules(),
                        .logprobs = logprobs(),
                        .priority = -8,
                        .structure = structure()};
  const auto& [id, attempt, tokens, n_prompt_tokens, params, stop, mode, rules, logprobs, priority,
               structure] = made;
  const auto& [max_tokens, ignore_eos, eos_ids, stop_ids, min_tokens] = stop;
  (void)rules, (void)logprobs, (void)priority, (void)min_tokens, (void)structure;
  (void)id, (void)attempt, (void)tokens, (void)n_prompt_tokens, (void)params, (void)mode;
  (void)max_tokens, (void)ignore_eos, (void)eos_ids, (void)stop_ids;
  return made;
}

std::vector<ToRank> all_to_rank() {
  const cluster::Placement placement{{{{RankId(0), {ExpertId(1), ExpertId(2)}}, {RankId(3), {}}}, {}}};
  request::Request plain{.id = RequestId(4), .tokens = {1}, .n_prompt_tokens = 1};
  request::Request damped = plain;  // one penalty alone
  damped.sampling.presence_penalty = 0.5f;
  return {cluster::Assign{request(), kRank},
          cluster::Assign{plain, std::nullopt},
          cluster::Assign{damped, std::nullopt},
          cluster::Assign{request(), std::nullopt},
          cluster::Feed{RequestId(5), {1, 2, 3}},
          cluster::TakeOver{RequestId(6), Attempt(2), {9, 8}},
          cluster::Drop{RequestId(7)},
          cluster::Prepare{
              {Epoch(8), {{RankId(0), Incarnation(4)}, kRank}, placement, {{RankId(9), Incarnation(2)}}},
              {{cluster::LinkKind::kSharedMemory, "one"}, {cluster::LinkKind::kNone, ""}},
              {{cluster::LinkKind::kNone, ""}, {cluster::LinkKind::kSharedMemory, "two"}}},
          cluster::CancelPrepare{Epoch(9)},
          cluster::Commit{Epoch(9), Epoch(10)},
          cluster::Enter{Epoch(11), Ballot(3)},
          cluster::Freeze{Ballot(4)},
          cluster::Forget{kRank},
          cluster::SourceEnded{kRank, cluster::SourceEnded::Trust::kYes},
          cluster::SourceEnded{kRank, cluster::SourceEnded::Trust::kNo},
          cluster::Release{}};
}

std::vector<FromRank> all_from_rank() {
  using Cause = cluster::RankPrepareFailed::Cause;
  const cluster::RankStats stats{
      1, 2, 3, 4, 5, 6, {{RankId(1), 0.5}, {RankId(2), 1.5}}, {1, 2, 3, 4, 5, 6}, {7, 8, 9, 10}};
  return {cluster::RankHello{kRank,
                             {cluster::LinkKind::kSharedMemory, std::string("\0\xff", 2)},
                             {cluster::LinkKind::kSharedMemory, "kv"},
                             3,
                             4,
                             5,
                             {"version", "id", "digest", "avx2"}},
          cluster::LoadProgress{kRank, 5, 6},
          cluster::RankPrepared{kRank, Epoch(1), 7},
          cluster::RankPrepareFailed{kRank, Epoch(2), "why", Cause::kOwn},
          cluster::RankPrepareFailed{kRank, Epoch(2), "why", Cause::kPeer},
          cluster::RankPrepareFailed{kRank, Epoch(2), "why", Cause::kRoom},
          cluster::RankFlipped{kRank, Epoch(3), 1.25},
          cluster::RankFrozen{kRank, Ballot(4)},
          cluster::Heartbeat{kRank, 8, 9},
          cluster::PeerSuspected{kRank, RankId(1), Epoch(5), "what", StepId(6), 7},
          cluster::LeaveAsked{kRank},
          cluster::RankFailed{kRank, "error"},
          cluster::RankReport{kRank, stats},
          cluster::StepOutput{
              kRank,
              {{RequestId(1), Attempt(2), 3, 4, request::FinishReason::kLength},
               {RequestId(2), Attempt(3), 4, request::kNoToken, request::FinishReason::kError},
               {RequestId(2), Attempt(3), 4, request::kNoToken, request::FinishReason::kNothingAllowed},
               {RequestId(2), Attempt(3), 4, 5, {}}},
              {{RequestId(3), Attempt(4), 5}},
              stats,
              {{RequestId(4), Attempt(5), 6, 2, {{1, -0.1f}, {2, -0.0f}, {3, -9}, {4, -8}}, {7, 8}},
               {RequestId(5), Attempt(5), 1, 1, {{1, -0.1f}}, {1}}},
              {{}, {}, {}, {{5, -1e-7f}, {9, -kInfinity}}},
              {Epoch(6), StepId(7)}},
          cluster::StepOutput{kRank, {}, {}, std::nullopt}};
}

// Through the bytes, as on a channel.
Frame carried(const Frame& frame) {
  Frame out;
  EXPECT_TRUE(out.ParseFromString(frame.SerializeAsString()));
  return out;
}

template <typename Message>
std::set<std::size_t> kinds_of(const std::vector<Message>& messages) {
  std::set<std::size_t> kinds;
  for (const Message& message : messages) kinds.insert(message.index());
  return kinds;
}

TEST(Codec, EveryMessageToARankArrivesAsItWasSent) {
  EXPECT_EQ(kinds_of(all_to_rank()).size(), std::variant_size_v<ToRank>);
  for (const ToRank& message : all_to_rank()) {
    const Result<ToRank> arrived = to_rank_of(carried(frame_of(message)));
    ASSERT_TRUE(arrived.has_value()) << arrived.error().message();
    EXPECT_TRUE(*arrived == message) << "message " << message.index();
  }
}

TEST(Codec, EveryMessageFromARankArrivesAsItWasSent) {
  EXPECT_EQ(kinds_of(all_from_rank()).size(), std::variant_size_v<FromRank>);
  for (const FromRank& message : all_from_rank()) {
    const Result<FromRank> arrived = from_rank_of(carried(frame_of(message)), kRank);
    ASSERT_TRUE(arrived.has_value()) << arrived.error().message();
    EXPECT_TRUE(*arrived == message) << "message " << message.index();
  }
}

TEST(Codec, WhatIsNotForThisEndIsRefused) {
  EXPECT_TRUE(to_rank_of(Frame()).error().is(TransportError::kUnknownMessage));
  EXPECT_TRUE(from_rank_of(Frame(), kRank).error().is(TransportError::kUnknownMessage));
  for (const ToRank& message : all_to_rank())
    EXPECT_FALSE(from_rank_of(frame_of(message), kRank).has_value());
  for (const FromRank& message : all_from_rank()) EXPECT_FALSE(to_rank_of(frame_of(message)).has_value());
}

TEST(Codec, AStructureBeyondItsBoundsIsRefused) {
  const auto refusal = [](request::Structure structure) {
    request::Request asked = request();
    asked.structure = std::move(structure);
    const Result<ToRank> arrived = to_rank_of(carried(frame_of(cluster::Assign{asked, kRank})));
    return arrived || !arrived.error().is(TransportError::kBadFrame) ? "" : arrived.error().message();
  };
  const std::string longest(request::kMaxStructureBytes, 'a');
  const std::vector<TokenId> most(request::kMaxThoughtEndTokens, 1);
  request::Structure asked{request::StructureLanguage::kRegex, longest, most, {}};
  EXPECT_EQ(refusal(asked), "");
  asked.source += 'a';
  EXPECT_EQ(refusal(asked), "a structure with bytes 262145, and it must be below 262145");
  asked.source.pop_back();
  asked.begins_after.push_back(1);
  EXPECT_EQ(refusal(asked), "a structure with tokens that it begins after 65, and it must be below 65");
  EXPECT_EQ(refusal({request::StructureLanguage(request::kStructureLanguages), "", {}, {}}),
            "a structure with language 6, and it must be below 6");
}

TEST(Codec, ARankThatSaysItIsAnotherIsRefused) {
  const cluster::Member other{RankId(3), Incarnation(5)};
  const auto read = from_rank_of(frame_of(cluster::RankHello{kRank}), other);
  ASSERT_FALSE(read.has_value());
  EXPECT_NE(read.error().message().find("start 5"), std::string::npos) << read.error().message();
}

}  // namespace
}  // namespace concertina::transport
