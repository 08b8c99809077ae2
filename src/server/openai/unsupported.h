#pragma once

#include "server/fields.h"
#include "server/openai/parameters.h"

namespace concertina::server::openai {

// Fields of OpenAI, vLLM, SGLang and llama.cpp that would shape the output and are not built: refused by name
// unless their value asks for nothing, so that no client takes an unconstrained answer for what it asked for.
void refuse_unsupported(Fields& fields, Endpoint endpoint);

}  // namespace concertina::server::openai
