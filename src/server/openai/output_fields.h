#pragma once

#include "server/fields.h"
#include "server/openai/parameters.h"

namespace concertina::server::openai {

// What an answer tells and how it is written: logprobs, echo, stop strings that stay, special tokens, ids and
// usage. Needs `stream` and max_tokens.
void read_output(Fields& fields, const ParseContext& context, Parameters& out);

}  // namespace concertina::server::openai
