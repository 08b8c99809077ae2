#include "model/kv_cache.h"

#include "base/check.h"
#include "model/error.h"

namespace concertina::model {

namespace {

// A layer's pool from `at` on. Another kind of attention, and what it keeps, has an overload.
kernels::PagedKv pool_of(const GqaSpec& spec, std::byte* at, const KvLayout& layout) {
  return {reinterpret_cast<float*>(at), layout.n_blocks, layout.block_size, spec.n_kv_heads, spec.head_dim};
}

}  // namespace

Result<std::unique_ptr<KvCache>> KvCache::create(const ModelConfig& config, std::size_t n_blocks,
                                                 std::size_t block_size) {
  ASSIGN_OR_RETURN(const KvLayout layout, kv_layout(config, n_blocks, block_size));
  auto memory = ReservedArray<std::byte>::make(layout.n_bytes(), "KV blocks");
  if (!memory)
    return fail(ModelError::kOutOfMemory,
                fmt::format("cannot get {} KV blocks of {} bytes each: {}", n_blocks, layout.block_bytes(),
                            memory.error().message()));
  auto cache = std::make_unique<KvCache>(config, layout, memory->first(layout.n_bytes()));
  cache->own_ = std::move(*memory);
  return cache;
}

KvCache::KvCache(const ModelConfig& config, const KvLayout& layout, std::span<std::byte> memory)
    : block_size_(layout.block_size) {
  CHECK(memory.size() == layout.n_bytes(), "{} bytes for KV blocks, {} needed", memory.size(),
        layout.n_bytes());
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    std::byte* const at = memory.data() + layout.pools[i].offset;
    layers_.push_back(std::visit([&](const auto& attention) { return pool_of(attention, at, layout); },
                                 config.layers[i].attention));
    CHECK(layers_.back().block_floats() * sizeof(float) == layout.pools[i].block_bytes, "layer {}", i);
  }
}

}  // namespace concertina::model
