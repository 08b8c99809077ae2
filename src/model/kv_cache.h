#pragma once

#include <memory>
#include <vector>

#include "base/result.h"
#include "kernels/paged_attention.h"
#include "model/kv_spec.h"

namespace concertina::model {

// The KV memory of one rank, as KvSpec says: a pool of blocks a layer, in float32, all in one piece. Pages
// appear when first written. Which block belongs to which sequence is the scheduler's business.
class KvCache {
 public:
  static Result<std::unique_ptr<KvCache>> create(const ModelConfig& config, std::size_t n_blocks,
                                                 std::size_t block_size);
  ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  const kernels::PagedKv& layer(std::size_t index) const { return layers_[index]; }
  std::size_t n_blocks() const { return n_blocks_; }
  std::size_t block_size() const { return block_size_; }

  // Writes into the first blocks of each layer, which the first requests get: their pages are zeroed here and
  // not in the first step. The rest appears when it is used.
  void warm();

 private:
  KvCache() = default;
  float* data_ = nullptr;
  std::size_t n_bytes_ = 0, n_blocks_ = 0, block_size_ = 0;
  std::vector<kernels::PagedKv> layers_;  // [n_layers]
};

}  // namespace concertina::model
