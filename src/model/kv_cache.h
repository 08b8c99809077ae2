#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/reserved_array.h"
#include "base/result.h"
#include "kernels/paged_attention.h"
#include "model/kv_layout.h"

namespace concertina::model {

// The KV of one rank as attention reads it: a pool of blocks a layer, in float32, in memory that KvLayout
// describes. Which block belongs to which sequence is the scheduler's business.
class KvCache {
 public:
  // In memory of its own, whose pages appear when first written: where no peer reads it.
  static Result<std::unique_ptr<KvCache>> create(const ModelConfig& config, std::size_t n_blocks,
                                                 std::size_t block_size);
  // In `memory`, which outlives it: [layout.n_bytes()], aligned to 64 bytes.
  KvCache(const ModelConfig& config, const KvLayout& layout, std::span<std::byte> memory);
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  const kernels::PagedKv& layer(std::size_t index) const { return layers_[index]; }
  std::size_t block_size() const { return block_size_; }

 private:
  ReservedArray<std::byte> own_;
  const std::size_t block_size_;
  std::vector<kernels::PagedKv> layers_;  // [n_layers]
};

}  // namespace concertina::model
