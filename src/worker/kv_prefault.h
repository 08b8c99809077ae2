#pragma once

#include <functional>
#include <optional>

#include "base/memory_limits.h"
#include "worker/kv_memory.h"

namespace concertina::worker {

// Makes the pages of a rank's KV memory appear, piece by piece and beside serving, in the order in which a
// BlockPool takes blocks at first: the first touch of a page costs more than copying it (128 MiB: 91 to 210
// ms, and 21 ms copied), and neither a step nor a stream that waits for its copy should pay it. Any one
// thread.
class KvPrefault {
 public:
  using ReadLimit = std::function<std::optional<MemoryLimit>()>;
  explicit KvPrefault(
      const KvMemory& memory, ReadLimit read_limit = [] { return tightest_memory_limit(); });

  // The next piece, of a millisecond or so. kNo: it was the last, or a quarter of what bounds this process's
  // memory is all that is left: then pages appear when they are used.
  enum class More : std::uint8_t { kNo, kYes };
  More next();

 private:
  bool is_short_of_memory() const;

  const KvMemory& memory_;
  const ReadLimit read_limit_;
  const std::size_t blocks_per_piece_, n_blocks_;
  std::size_t n_done_ = 0;          // blocks
  std::size_t bytes_to_check_ = 0;  // until the limit is read again
};

}  // namespace concertina::worker
