#include "exchange/shm/header_slot.h"

#include <gtest/gtest.h>

#include <thread>

namespace concertina::exchange {
namespace {

Header numbered(std::uint64_t n) {
  const auto half = static_cast<std::uint32_t>(n);
  return {.incarnation = Incarnation(n),
          .position = {.epoch = Epoch(n),
                       .step = StepId(n),
                       .exchange = static_cast<std::uint32_t>(n),
                       .index = n},
          .flip_to = Epoch(n),
          .begin = n,
          .count = n,
          .n_rows = n,
          .load = {.n_streams = half,
                   .n_tokens = half + 1,
                   .n_positions = n << 33,
                   .n_prefill = half + 2,
                   .n_decode_positions = half + 3,
                   .n_wanted = half + 4,
                   .wanted_at = half + 5}};
}

TEST(HeaderSlot, IsEmptyUntilWritten) {
  HeaderSlot slot{};
  EXPECT_EQ(slot.load(), std::nullopt);
  slot.store(numbered(7));
  EXPECT_EQ(slot.load(), numbered(7));
}

TEST(HeaderSlot, AReaderNeverSeesHalfAHeader) {
  constexpr std::uint64_t kHeaders = 100'000;
  HeaderSlot slot{};
  std::thread writer([&] {
    for (std::uint64_t n = 1; n <= kHeaders; ++n) slot.store(numbered(n));
  });
  std::uint64_t last = 0, n_torn = 0, n_backward = 0;
  while (last < kHeaders)
    if (const std::optional<Header> found = slot.load()) {
      n_torn += *found != numbered(found->begin);
      n_backward += found->begin < last;
      last = found->begin;
    }
  writer.join();
  EXPECT_EQ(n_torn, 0u);
  EXPECT_EQ(n_backward, 0u);
}

}  // namespace
}  // namespace concertina::exchange
