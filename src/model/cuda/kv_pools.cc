#include "model/cuda/kv_pools.h"

#include <algorithm>

namespace concertina::model::cuda {

namespace {

std::uint32_t u32(std::size_t n) { return static_cast<std::uint32_t>(n); }
const GqaSpec& gqa(const LayerSpec& layer) { return std::get<GqaSpec>(layer.attention); }

std::size_t block_elements(const LayerSpec& layer, std::size_t block_size) {
  return 2 * block_size * gqa(layer).kv_width();
}

}  // namespace

KvPools::KvPools(const ModelConfig& config, std::size_t block_size, std::size_t n_blocks)
    : block_size_(u32(block_size)) {
  for (const LayerSpec& layer : config.layers) {
    const GqaSpec& spec = gqa(layer);
    const std::uint32_t rows = kernels::cuda::n_rows_of_item(u32(spec.n_heads), u32(spec.n_kv_heads));
    const auto known = std::find(item_rows_.begin(), item_rows_.end(), rows);
    layers_.push_back({n_elements_, u32(spec.n_kv_heads), u32(spec.head_dim),
                       static_cast<std::size_t>(known - item_rows_.begin())});
    if (known == item_rows_.end()) item_rows_.push_back(rows);
    n_elements_ += n_blocks * block_elements(layer, block_size);
  }
}

std::size_t KvPools::block_bytes(const ModelConfig& config, std::size_t block_size) {
  std::size_t n = 0;
  for (const LayerSpec& layer : config.layers) n += block_elements(layer, block_size);
  return n * sizeof(kernels::cuda::Bf16);
}

kernels::cuda::PagedKv KvPools::layer(std::size_t index, kernels::cuda::Bf16* memory) const {
  const Layer& layer = layers_[index];
  return {memory + layer.begin, block_size_, layer.n_kv_heads, layer.head_dim};
}

}  // namespace concertina::model::cuda
