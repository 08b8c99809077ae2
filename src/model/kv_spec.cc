#include "model/kv_spec.h"

namespace concertina::model {

namespace {

// Another kind of attention, and what it keeps, has an overload.
std::uint64_t bytes_per_token(const GqaSpec& spec) {
  return kernels::paged_kv_floats(1, 1, spec.n_kv_heads, spec.head_dim) * sizeof(float);
}

}  // namespace

std::uint64_t KvSpec::bytes_per_block(std::size_t block_size) const {
  std::uint64_t n = 0;
  for (const KvGroup& group : groups) n += block_size * group.bytes_per_token;
  return n;
}

std::uint64_t kv_bytes_per_token(const LayerSpec& layer) {
  return std::visit([](const auto& attention) { return bytes_per_token(attention); }, layer.attention);
}

KvSpec kv_spec(const ModelConfig& config) {
  KvGroup all;
  for (std::size_t layer = 0; layer < config.layers.size(); ++layer) {
    all.layers.push_back(layer);
    all.bytes_per_token += kv_bytes_per_token(config.layers[layer]);
  }
  return {.groups = {std::move(all)}};
}

}  // namespace concertina::model
