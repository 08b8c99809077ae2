#pragma once

#include "server/fields.h"
#include "server/openai/parameters.h"

namespace concertina::server::openai {

// What an answer tells and how it is written: logprobs, echo, stop strings that stay, special tokens, ids and
// usage. Needs `stream` and max_tokens.
void read_output(Fields& fields, const ParseContext& context, Parameters& out);

// Log-probabilities of one answer, of its prompts too: some 70 bytes of text each, which are kept until it is
// written. A chat of 128 Ki tokens with 20 beside each token's own has its own 2.8 million.
inline constexpr std::size_t kMaxLogprobsOfAnswer = std::size_t{1} << 22;

// Once prompts are known, and no longer than the model.
void check_number_of_logprobs(Fields& fields, const front::ModelInfo& model, const Parameters& parameters);

}  // namespace concertina::server::openai
