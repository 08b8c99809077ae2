#include "model/kv_cache.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "model/error.h"

namespace concertina::model {

namespace {

// A layer's pool from `at` on. Another kind of attention, and what it keeps, has an overload.
kernels::PagedKv pool_of(const GqaSpec& spec, float* at, std::size_t n_blocks, std::size_t block_size) {
  return {at, n_blocks, block_size, spec.n_kv_heads, spec.head_dim};
}

}  // namespace

Result<std::unique_ptr<KvCache>> KvCache::create(const ModelConfig& config, std::size_t n_blocks,
                                                 std::size_t block_size) {
  const std::uint64_t block_bytes = kv_spec(config).bytes_per_block(block_size);
  const auto refused = [&](const char* why) {
    return fail(ModelError::kOutOfMemory,
                fmt::format("cannot get {} KV blocks of {} bytes each: {}", n_blocks, block_bytes, why));
  };
  std::size_t n_bytes = 0;
  if (n_blocks == 0) return refused("a rank needs one at least");
  if (__builtin_mul_overflow(n_blocks, block_bytes, &n_bytes)) return refused("more than the address space");
  void* const start = mmap(nullptr, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED) return refused(strerror(errno));
  // No huge pages: those of all layers were first written in the same step, one of 25, which then took 60 ms
  // longer (model M beside a prompt). They made nothing faster (docs/performance.md).
  std::unique_ptr<KvCache> cache(new KvCache);
  cache->n_bytes_ = n_bytes;
  cache->data_ = static_cast<float*>(start);
  cache->n_blocks_ = n_blocks, cache->block_size_ = block_size;
  float* at = cache->data_;
  for (const LayerSpec& layer : config.layers) {
    cache->layers_.push_back(
        std::visit([&](const auto& attention) { return pool_of(attention, at, n_blocks, block_size); },
                   layer.attention));
    at += n_blocks * cache->layers_.back().block_floats();
  }
  return cache;
}

KvCache::~KvCache() {
  if (data_ != nullptr) munmap(data_, n_bytes_);
}

void KvCache::warm() {
  constexpr std::size_t kFloats = std::size_t{128} << 10, kStep = 1024;  // a page
  for (const kernels::PagedKv& layer : layers_) {
    const std::size_t n_floats = std::min(kFloats, layer.n_blocks * layer.block_floats());
    for (std::size_t i = 0; i < n_floats; i += kStep) layer.data[i] = 0;
  }
}

}  // namespace concertina::model
