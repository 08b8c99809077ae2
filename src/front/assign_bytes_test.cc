#include <gtest/gtest.h>

#include <limits>

#include "deployment/journal.h"
#include "transport/codec.h"

namespace concertina::front {
namespace {

TEST(AssignBytes, AFrameIsNeverLargerThanTheJournalCounts) {
  request::Request request;
  request.id = RequestId(std::numeric_limits<std::uint64_t>::max());
  request.attempt = Attempt(~0u);
  request.mode = request::Mode::kReplay;
  request.n_prompt_tokens = std::numeric_limits<std::size_t>::max();
  request.sampling = {
      .temperature = 0.7f, .top_k = -1, .top_p = 0.5f, .min_p = 0.1f, .seed = ~0ull, .choice_index = 127};
  request.sampling.repetition_penalty = request.sampling.presence_penalty = 1.5f;
  request.stop.min_tokens = std::numeric_limits<std::size_t>::max();
  request.logprobs = {20, 20, std::numeric_limits<std::size_t>::max()};
  request.priority = std::numeric_limits<std::int32_t>::min();
  request.stop.max_tokens = std::numeric_limits<std::size_t>::max();
  request.stop.ignore_eos = true;
  for (const std::size_t n : {0, 1, 50, 3000}) {
    request.tokens.assign(n, std::numeric_limits<TokenId>::max());
    request.stop.stop_token_ids.assign(n / 3, std::numeric_limits<TokenId>::max());
    request.stop.eos_token_ids.assign(n / 7, std::numeric_limits<TokenId>::max());
    request::TokenRules rules;
    rules.allowed_token_ids.assign(n / 2, std::numeric_limits<TokenId>::max());
    rules.logit_bias.assign(n / 4, {std::numeric_limits<TokenId>::max(), -99.5f});
    rules.bad_words.assign(n / 5, {std::numeric_limits<TokenId>::max()});
    rules.bad_words.emplace_back(n + 1, std::numeric_limits<TokenId>::max());
    rules.thinking.n_tokens = std::numeric_limits<std::size_t>::max();
    rules.thinking.end.assign(n / 9, std::numeric_limits<TokenId>::max());
    rules.thinking.other_end.assign(n / 10, std::numeric_limits<TokenId>::max());
    rules.thinking.begin.assign(n / 8, std::numeric_limits<TokenId>::max());
    request.rules = rules;
    request.structure = request::Structure{request::StructureLanguage::kChoice, std::string(n, 'x'),
                                           std::vector<TokenId>(n, std::numeric_limits<TokenId>::max()),
                                           std::numeric_limits<TokenId>::max()};
    const auto bytes = [](const cluster::ToRank& message) {
      return transport::frame_of(message).ByteSizeLong();
    };
    EXPECT_LE(bytes(cluster::Assign{request}), deployment::assign_bytes(request, n));
    EXPECT_GE(bytes(cluster::Assign{request}), 5 * n);
    EXPECT_LE(bytes(cluster::TakeOver{request.id, request.attempt, request.tokens}),
              deployment::assign_bytes(request, n));
  }
}

}  // namespace
}  // namespace concertina::front
