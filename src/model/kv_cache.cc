#include "model/kv_cache.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "model/error.h"

namespace concertina::model {

std::size_t KvCache::bytes_per_block(const ModelConfig& config, std::size_t block_size) {
  return config.n_layers * kernels::paged_kv_floats(1, block_size, config.n_kv_heads, config.head_dim) *
         sizeof(float);
}

Result<std::unique_ptr<KvCache>> KvCache::create(const ModelConfig& config, std::size_t n_blocks,
                                                 std::size_t block_size) {
  const std::size_t block_bytes = bytes_per_block(config, block_size);
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
  cache->n_kv_heads_ = config.n_kv_heads, cache->head_dim_ = config.head_dim;
  return cache;
}

KvCache::~KvCache() {
  if (data_ != nullptr) munmap(data_, n_bytes_);
}

kernels::PagedKv KvCache::layer(std::size_t index) const {
  const std::size_t layer_floats = kernels::paged_kv_floats(n_blocks_, block_size_, n_kv_heads_, head_dim_);
  return {data_ + index * layer_floats, n_blocks_, block_size_, n_kv_heads_, head_dim_};
}

}  // namespace concertina::model
