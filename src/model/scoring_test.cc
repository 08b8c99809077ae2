// Log-probabilities of tokens that are known already.
#include <gtest/gtest.h>

#include <algorithm>

#include "model/dummy_engine.h"

namespace concertina::model {
namespace {

// More rows than the head takes at once, in one step and in steps of one to six tokens.
TEST(Forward, APromptsScoresAreTheSameBitsHoweverItIsCut) {
  const ModelConfig config = read_config(CONCERTINA_SOURCE_DIR "/tests/fixtures/qwen3_moe").value();
  std::vector<TokenId> prompt;
  for (TokenId i = 0; i < 23; ++i) prompt.push_back(i * 37 % 256);
  const auto scores = [&](std::size_t chunk) {
    DummyEngine engine(config);
    const BlockId blocks[] = {BlockId(5), BlockId(2)};
    std::vector<std::pair<float, TokenId>> found;
    for (std::size_t start = 0; start + 1 < prompt.size(); start += chunk) {
      const std::size_t n = std::min(chunk, prompt.size() - 1 - start);
      request::Extras extras;
      extras.scored = std::span<const TokenId>(prompt).subspan(start + 1, n);
      const SequenceSlice slice{.tokens = std::span<const TokenId>(prompt).subspan(start, n),
                                .start_position = start,
                                .block_table = blocks,
                                .extras = &extras,
                                .n_scored_top = 1};
      const auto output =
          forward(*engine.model, Batch(&slice, 1), *engine.cache, *engine.local, engine.workspace, engine.on);
      EXPECT_TRUE(output.has_value());
      for (std::size_t i = 0; i < n; ++i)
        found.emplace_back(output->scored->logprobs[i],
                           output->scored->top_logprobs[i * kernels::kMaxLogprobs].token);
    }
    return found;
  };
  const auto whole = scores(22);
  ASSERT_EQ(whole.size(), 22u);
  for (const std::size_t chunk : {1, 3, 6}) EXPECT_EQ(scores(chunk), whole) << chunk;
  // What a row scores highest is what it draws.
  DummyEngine engine(config);
  const auto logits = engine.run(std::span<const TokenId>(prompt).first(9), *engine.local).value();
  const auto highest = std::max_element(logits.begin(), logits.end()) - logits.begin();
  EXPECT_EQ(whole[8].second, highest);
}

}  // namespace
}  // namespace concertina::model
