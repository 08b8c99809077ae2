#pragma once

#include <cstdint>
#include <vector>

#include "kernels/cuda/launch.h"
#include "model/config.h"

namespace concertina::model::cuda {

// Where a GPU's KV lies: a pool a layer, one after the other, in each of which a block has the same number.
// All layers read the same tables of blocks, one KV group; their blocks may be of unlike size, and they may
// share a KV head among unlike numbers of heads.
class KvPools {
 public:
  KvPools(const ModelConfig& config, std::size_t block_size, std::size_t n_blocks);

  static std::size_t block_bytes(const ModelConfig& config, std::size_t block_size);  // of all layers
  std::size_t n_elements() const { return n_elements_; }
  // `memory` holds n_elements.
  kernels::cuda::PagedKv layer(std::size_t index, kernels::cuda::Bf16* memory) const;

  // Rows of an item of attention: once for each number that some layer needs, and whose a layer's is.
  std::span<const std::uint32_t> item_rows() const { return item_rows_; }
  std::size_t items_of(std::size_t layer) const { return layers_[layer].items; }

 private:
  struct Layer {
    std::size_t begin;  // elements
    std::uint32_t n_kv_heads, head_dim;
    std::size_t items;  // index in item_rows_
  };
  const std::uint32_t block_size_;
  std::size_t n_elements_ = 0;
  std::vector<Layer> layers_;
  std::vector<std::uint32_t> item_rows_;
};

}  // namespace concertina::model::cuda
