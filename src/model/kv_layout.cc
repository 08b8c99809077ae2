#include "model/kv_layout.h"

#include <fmt/format.h>

#include "model/error.h"
#include "model/kv_spec.h"

namespace concertina::model {

std::size_t KvLayout::block_bytes() const {
  std::size_t n = 0;
  for (const Pool& pool : pools) n += pool.block_bytes;
  return n;
}

Result<KvLayout> kv_layout(const ModelConfig& config, std::size_t n_blocks, std::size_t block_size) {
  const std::uint64_t block_bytes = kv_spec(config).bytes_per_block(block_size);
  const auto refused = [&](const char* why) {
    return fail(ModelError::kOutOfMemory,
                fmt::format("cannot get {} KV blocks of {} bytes each: {}", n_blocks, block_bytes, why));
  };
  std::size_t n_bytes = 0;
  if (n_blocks == 0) return refused("a rank needs one at least");
  if (__builtin_mul_overflow(n_blocks, block_bytes, &n_bytes)) return refused("more than the address space");
  KvLayout layout{.n_blocks = n_blocks, .block_size = block_size, .pools = {}};
  std::size_t at = 0;
  for (const LayerSpec& layer : config.layers) {
    layout.pools.push_back({at, block_size * kv_bytes_per_token(layer)});
    at += n_blocks * layout.pools.back().block_bytes;
  }
  return layout;
}

}  // namespace concertina::model
