#include "worker/rank_parts.h"

#include <gtest/gtest.h>

#include "checkpoint/dummy_weights.h"

namespace concertina::worker {
namespace {

// Norms, scales and sums too: whatever a step reads was touched before.
TEST(Prefault, TouchesEveryByteThatARankHoldsBesidesItsExperts) {
  for (const char* family : {"mixtral", "qwen3_moe", "olmoe"})
    for (const model::Quantization quantization : {model::Quantization::kNone, model::Quantization::kInt8}) {
      const auto config =
          model::read_config(std::filesystem::path(CONCERTINA_SOURCE_DIR) / "tests/fixtures" / family)
              .value();
      const checkpoint::DummyWeights source(1, config.dtype);
      std::size_t n_loaded = 0, n_touched = 0;
      std::uint64_t last_bytes = 0;
      const auto model = model::Model::load(config, source, 64, quantization, [&] { ++n_loaded; }).value();
      const auto expected = model::own_weight_bytes(config, source, quantization).value();
      EXPECT_EQ(prefault(*model,
                         [&](std::uint64_t n_bytes) {
                           ++n_touched;
                           EXPECT_GT(n_bytes, last_bytes) << "it gets on with each";
                           last_bytes = n_bytes;
                         }),
                expected.each_rank)
          << family << ", " << model::name_of(quantization);
      EXPECT_EQ(n_touched, n_loaded);
      EXPECT_EQ(last_bytes, expected.each_rank);
    }
}

}  // namespace
}  // namespace concertina::worker
