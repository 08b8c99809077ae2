#pragma once

#include "server/fields.h"
#include "server/openai/parameters.h"

namespace concertina::server::openai {

// What decides which token is drawn: temperature and filters, seed, penalties, min_tokens, and what is said
// of single tokens (logit_bias, allowed_token_ids, bad_words). Ranges and defaults as in vLLM. After the
// fields of read_stop(), whose max_tokens bounds min_tokens.
void read_sampling(Fields& fields, const ParseContext& context, Parameters& out);

}  // namespace concertina::server::openai
