#pragma once

#include <memory>

#include "base/result.h"
#include "kernels/paged_attention.h"
#include "model/config.h"

namespace concertina::model {

// The KV memory of one rank: a pool of blocks a layer, in float32. Pages appear when first written. Which
// block belongs to which sequence is the scheduler's business.
class KvCache {
 public:
  static std::size_t bytes_per_block(const ModelConfig& config, std::size_t block_size);  // all layers
  static Result<std::unique_ptr<KvCache>> create(const ModelConfig& config, std::size_t n_blocks,
                                                 std::size_t block_size);
  ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  kernels::PagedKv layer(std::size_t index) const;
  std::size_t n_blocks() const { return n_blocks_; }
  std::size_t block_size() const { return block_size_; }

 private:
  KvCache() = default;
  float* data_ = nullptr;
  std::size_t n_bytes_ = 0, n_blocks_ = 0, block_size_ = 0, n_kv_heads_ = 0, head_dim_ = 0;
};

}  // namespace concertina::model
