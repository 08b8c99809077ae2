#pragma once

#include "server/openai/parameters.h"

namespace concertina::server::openai {

// What "tool_choice" and tools with "strict" make of an answer: a structure in the model's own way to write
// calls, so that its parser takes what comes for calls. After the chat was rendered and the answer's
// structure was read: where that is a JSON document and calls may come too, the answer is one of both. On the
// loop none is made: Parameters::structure_check says so.
void read_call_structure(Fields& fields, const ParseContext& context, Parameters& out);

}  // namespace concertina::server::openai
