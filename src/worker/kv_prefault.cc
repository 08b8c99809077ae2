#include "worker/kv_prefault.h"

#include <algorithm>

#include "base/log.h"

namespace concertina::worker {

namespace {
constexpr std::size_t kPieceBytes = std::size_t{1} << 20;
constexpr std::size_t kCheckBytes = std::size_t{64} << 20;  // reading limits takes as long as some 100 KiB
}  // namespace

KvPrefault::KvPrefault(const KvMemory& memory, ReadLimit read_limit)
    : memory_(memory),
      read_limit_(std::move(read_limit)),
      blocks_per_piece_(std::max<std::size_t>(1, kPieceBytes / memory.layout().blocks.block_bytes())),
      n_blocks_(memory.layout().blocks.n_blocks) {}

KvPrefault::More KvPrefault::next() {
  if (n_done_ == n_blocks_) return More::kNo;
  const std::size_t n = std::min(blocks_per_piece_, n_blocks_ - n_done_);
  const std::size_t n_bytes = n * memory_.layout().blocks.block_bytes();
  if (bytes_to_check_ < n_bytes) {
    if (is_short_of_memory()) return More::kNo;
    bytes_to_check_ = kCheckBytes + n_bytes;
  }
  bytes_to_check_ -= n_bytes;
  memory_.allocate(BlockId(static_cast<std::uint32_t>(n_done_)), n);
  n_done_ += n;
  return n_done_ == n_blocks_ ? More::kNo : More::kYes;
}

bool KvPrefault::is_short_of_memory() const {
  const auto limit = read_limit_();
  if (!limit || limit->available_bytes > limit->bytes / 4) return false;
  spdlog::info(
      "{} of {} KV blocks are in memory; the others come when they are used, since {} has {} MiB left",
      n_done_, n_blocks_, limit->name, limit->available_bytes >> 20);
  return true;
}

}  // namespace concertina::worker
