#pragma once

#include <string>
#include <vector>

#include "server/openai/parameters.h"

namespace concertina::server::openai {

// The body of an answer that needs the tokenizer and the chat template alone: /tokenize and /detokenize as
// vLLM has them, /render (a chat's prompt as text and tokens), and Anthropic's count_tokens (`body` as a
// chat's).
ApiResult<std::string> token_answer(Endpoint endpoint, const Json& body, const ParseContext& context,
                                    std::vector<std::string>& unknown);

}  // namespace concertina::server::openai
