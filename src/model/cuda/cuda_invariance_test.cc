// A row's bits in any company, on the GPU.
#include "model/cuda/test_engine.h"

namespace concertina::model::cuda {
namespace {

// In one chunk, in chunks, one by one, beside others, in blocks of other sizes and any order, with NaN in all
// KV that nobody wrote.
TEST_F(CudaModel, ALogitRowIsTheSameBitsHoweverItWasComputed) {
  const auto folder = source_dir() / "models/demo";
  constexpr std::size_t kLength = 300;
  std::vector<TokenId> tokens, others;
  for (int i = 0; i < static_cast<int>(kLength); ++i)
    tokens.push_back((i * 977 + 13) % 4096), others.push_back((i * 331 + 5) % 4096);
  Engine alone(folder);
  auto one_by_one = alone.sequence(tokens);
  std::vector<std::vector<float>> want;
  for (std::size_t i = 0; i < kLength; ++i) want.push_back(alone.step({{&one_by_one, 1}})[0]);
  for (const std::size_t block_size : {16, 64, 5}) {
    Engine engine(folder, block_size);  // each step in buffers full of NaN
    for (const std::size_t chunk : {7u, 64u, 128u, 129u, 300u}) {
      auto own = engine.sequence(tokens), other = engine.sequence(others);
      for (std::size_t first = 0; first < kLength; first += chunk) {
        const std::size_t n = std::min<std::size_t>(chunk, kLength - first);
        ASSERT_TRUE(engine.pass().poison_buffers(0xff).has_value());
        const bool is_beside = first / chunk % 2 == 0 && other.n_computed + 40 < kLength;
        const auto rows = is_beside ? engine.step({{&other, 40}, {&own, n}}) : engine.step({{&own, n}});
        ASSERT_EQ(rows.back(), want[first + n - 1])
            << "blocks of " << block_size << ", chunks of " << chunk << ", from " << first;
      }
    }
  }
}

// One row at each place of batches of several sizes.
TEST_F(CudaModel, ASequenceDecodesTheSameAtEveryPlaceOfABatch) {
  Engine engine(source_dir() / "models/demo", 64);
  std::vector<TokenId> tokens{5, 900, 77, 4000, 12, 3, 2048};
  auto alone = engine.sequence(tokens);
  engine.step({{&alone, 6}});
  const auto want = engine.step({{&alone, 1}})[0];
  for (const std::size_t n : {2u, 8u, 9u, 24u, 33u, 40u, 64u}) {
    std::vector<Engine::Sequence> batch;
    for (std::size_t i = 0; i < n; ++i) batch.push_back(engine.sequence(tokens));
    std::vector<std::pair<Engine::Sequence*, std::size_t>> prompts, last;
    for (auto& sequence : batch) prompts.emplace_back(&sequence, 6), last.emplace_back(&sequence, 1);
    engine.step(prompts);
    for (const auto& row : engine.step(last)) ASSERT_EQ(row, want) << n;
  }
}

}  // namespace
}  // namespace concertina::model::cuda
