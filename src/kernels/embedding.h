#pragma once

#include <span>

#include "base/ids.h"
#include "device/stream.h"
#include "tensor/tensor.h"

namespace concertina::kernels {

// out[t] = table[tokens[t]], widened to float32. Every token must be in [0, vocab_size): checked.
void embedding(std::span<const TokenId> tokens,
               const tensor::Weight& table,  // [vocab_size, hidden_size]
               std::span<float> out,         // [n_tokens, hidden_size]
               device::Stream& on);

}  // namespace concertina::kernels
