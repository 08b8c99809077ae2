#include "sim/toy_model.h"

#include <algorithm>

namespace concertina::sim {

Row mix(Row a, Row b) {  // splitmix64's finaliser over both
  Row x = a * 0x9e3779b97f4a7c15ull + b + 0x7f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

Row kv_entry(TokenId token, std::size_t position) { return mix(static_cast<Row>(token) + 1, position); }

Row attend(std::span<const Row> kv) {
  Row row = 7;
  for (const Row entry : kv) row = mix(row, entry);
  return row;
}

std::uint32_t route(Row row, std::uint32_t layer, std::uint32_t k, const Shape& shape) {
  const auto first = static_cast<std::uint32_t>(mix(row, layer) % shape.n_experts);
  return (first + k) % shape.n_experts;  // k different ones
}

Row expert(Row row, std::uint32_t layer, std::uint32_t expert_id) {
  return mix(row, (Row{layer} << 32) + expert_id + 11);
}

Row combine(std::span<const Row> results) {
  Row sum = 3;
  for (const Row result : results) sum = mix(sum, result);
  return sum;
}

TokenId sample(Row row, const Shape& shape) { return static_cast<TokenId>(row % shape.vocab_size); }

std::vector<TokenId> undisturbed(const Shape& shape, std::vector<TokenId> tokens,
                                 const request::StopParams& stop, std::size_t max_length) {
  std::vector<TokenId> generated;
  std::vector<Row> kv;
  for (std::size_t i = 0; i < tokens.size(); ++i) kv.push_back(kv_entry(tokens[i], i));
  for (;;) {
    Row row = attend(kv);
    for (std::uint32_t layer = 0; layer < shape.n_layers; ++layer) {
      std::vector<Row> results;
      for (std::uint32_t k = 0; k < shape.top_k; ++k)
        results.push_back(expert(row, layer, route(row, layer, k, shape)));
      row = combine(results);
    }
    const TokenId token = sample(row, shape);
    generated.push_back(token);
    kv.push_back(kv_entry(token, kv.size()));
    const auto& eos = stop.eos_token_ids;
    const bool is_over = std::find(eos.begin(), eos.end(), token) != eos.end() ||
                         generated.size() >= stop.max_tokens || kv.size() >= max_length;
    if (is_over) return generated;
  }
}

}  // namespace concertina::sim
