#include "front/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "front/service.h"

namespace concertina::front {

namespace {
double gib(std::uint64_t n_bytes) { return static_cast<double>(n_bytes) / (1 << 30); }
}  // namespace

// A sum that is too large for the number is the largest.
std::uint64_t total_bytes(const MemoryNeeds& needs, std::size_t n_ranks) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t a_rank = 0, sum = 0;
  for (const std::uint64_t part : {needs.kv_bytes, needs.weight_bytes, needs.buffer_bytes}) {
    if (__builtin_add_overflow(a_rank, part, &a_rank)) return kMost;
  }
  if (__builtin_mul_overflow(a_rank, n_ranks, &sum)) return kMost;
  return __builtin_add_overflow(sum, needs.shared_bytes, &sum) ? kMost : sum;
}

Status check_memory(const MemoryNeeds& needs, std::size_t n_ranks, std::span<const MemoryLimit> limits) {
  const auto tightest =
      std::min_element(limits.begin(), limits.end(),
                       [](const MemoryLimit& a, const MemoryLimit& b) { return a.bytes < b.bytes; });
  const std::uint64_t needed = total_bytes(needs, n_ranks);
  if (tightest == limits.end() || needed == 0 || needed <= tightest->bytes) return {};
  if (needs.kv_bytes > tightest->bytes)
    return fail(FrontError::kNotEnoughMemory,
                fmt::format("--kv-cache-memory is {:.2f} GiB a rank, but {} has {:.2f} GiB",
                            gib(needs.kv_bytes), tightest->name, gib(tightest->bytes)));
  return fail(FrontError::kNotEnoughMemory,
              fmt::format("{} {} {} x ({:.2f} GiB KV (--kv-cache-memory) + {:.2f} GiB weights + {:.2f} GiB "
                          "buffers) + {:.2f} GiB weights once = {:.2f} GiB; {} has {:.2f} GiB",
                          n_ranks, n_ranks == 1 ? "rank needs" : "ranks need", n_ranks, gib(needs.kv_bytes),
                          gib(needs.weight_bytes), gib(needs.buffer_bytes), gib(needs.shared_bytes),
                          gib(needed), tightest->name, gib(tightest->bytes)));
}

Result<std::uint64_t> default_kv_bytes(const KvWish& wish, const MemoryNeeds& needs, std::size_t n_ranks,
                                       std::span<const MemoryLimit> limits) {
  std::uint64_t most = kMostDefaultKvBytes;
  if (std::uint64_t all = 0; !__builtin_mul_overflow(wish.sequence_bytes, wish.max_num_seqs, &all))
    most = std::min(most, all);
  const auto tightest = std::min_element(limits.begin(), limits.end(), [](const auto& a, const auto& b) {
    return a.available_bytes < b.available_bytes;
  });
  if (tightest == limits.end()) return std::max(most, wish.sequence_bytes);
  const auto left_with = [&](std::size_t n) {
    const std::uint64_t needed =
        total_bytes({0, needs.weight_bytes, needs.buffer_bytes, needs.shared_bytes}, n);
    return tightest->available_bytes - std::min(tightest->available_bytes, needed);
  };
  if (wish.sequence_bytes > left_with(n_ranks) / n_ranks)
    return fail(FrontError::kNotEnoughMemory,
                fmt::format("a request of the longest length (--max-model-len) needs {:.2f} GiB of KV on its "
                            "rank; {} has {:.2f} GiB left for the KV of {}: give a smaller --max-model-len",
                            gib(wish.sequence_bytes), tightest->name, gib(left_with(n_ranks)),
                            n_ranks == 1 ? "one rank" : fmt::format("{} ranks", n_ranks)));
  const std::uint64_t share = left_with(wish.max_ranks) / 2 / wish.max_ranks;
  return std::max(std::min(most, share), wish.sequence_bytes);
}

}  // namespace concertina::front
