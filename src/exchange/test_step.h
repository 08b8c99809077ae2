#pragma once

#include <gtest/gtest.h>

#include "exchange/test_group.h"

namespace concertina::exchange {

// One step of a rank, every output compared with the oracle. 0 tokens: it serves, in one of the two ways.
inline bool run_step(const TestModel& model, TestRank& exchange, Random& random, Epoch flag) {
  exchange->begin_step(exchange->next_step(), flag);
  const std::size_t n_tokens = random.below(3) == 0 ? 0 : random.below(model.shape.max_tokens + 1);
  if (n_tokens == 0 && random.below(2) == 0) {
    const Status status = exchange.serve_step();
    EXPECT_TRUE(status) << status.error().message();
    return status.has_value();
  }
  for (std::uint32_t layer = 0; layer < model.shape.n_moe_layers; ++layer) {
    const TestTokens tokens(model.shape, n_tokens, random);
    std::vector<float> out(n_tokens * model.shape.hidden_size, -1.0f);
    const Status status = exchange.run_layer(MoeLayerId(layer), tokens, out);
    EXPECT_TRUE(status) << status.error().message();
    if (!status) return false;
    EXPECT_EQ(out, expected_output(model, layer, tokens))
        << "layer " << layer << ", " << n_tokens << " tokens";
  }
  return true;
}

}  // namespace concertina::exchange
