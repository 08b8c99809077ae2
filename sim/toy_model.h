#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "sim/scenario.h"

namespace concertina::sim {

// A model without arithmetic: the next token is a hash of the whole history, by way of KV entries and
// experts, so that any lost, doubled or misplaced step, row or KV entry changes the stream from there on.
using Row = std::uint64_t;

Row mix(Row a, Row b);
Row kv_entry(TokenId token, std::size_t position);
Row attend(std::span<const Row> kv);  // of positions 0 .. last, in order
std::uint32_t route(Row row, std::uint32_t layer, std::uint32_t k,
                    const Shape& shape);  // k-th expert of a row
Row expert(Row row, std::uint32_t layer, std::uint32_t expert_id);
Row combine(std::span<const Row> results);  // in top-k order
TokenId sample(Row row, const Shape& shape);

// The stream that a request has when nothing disturbs it.
std::vector<TokenId> undisturbed(const Shape& shape, std::vector<TokenId> prompt,
                                 const request::StopParams& stop, std::size_t max_length);

}  // namespace concertina::sim
