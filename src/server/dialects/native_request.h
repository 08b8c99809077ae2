#pragma once

#include "server/fields.h"

// llama-server's own /completion and SGLang's own /generate, as completions.
namespace concertina::server::dialects {

ApiResult<Json> llama_to_completion(const Json& body);
// Whole answers only: SGLang's streams repeat all of the text in each event.
ApiResult<Json> sglang_to_completion(const Json& body);

}  // namespace concertina::server::dialects
