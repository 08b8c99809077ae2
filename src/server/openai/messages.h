#pragma once

#include "server/fields.h"
#include "server/openai/parameters.h"

namespace concertina::server::openai {

// Reads "messages", "tools", "chat_template_kwargs" and "add_generation_prompt", renders them with the
// model's chat template and adds the ids as the one prompt. What is wrong is named by its place:
// messages[3].tool_calls[0].id.
//
// What a template sees is what transformers' apply_chat_template would have been given (as vLLM prepares it):
// keys in the client's order, null fields left out, tool arguments as objects, text parts joined by new
// lines. Where a template wants it otherwise (chat::MessageShape) it gets it otherwise.
void read_messages(Fields& fields, const ParseContext& context, Parameters& out);

// The same up to the text of the prompt; nothing: see fields.error().
std::optional<std::string> render_messages(Fields& fields, const ParseContext& context, Parameters& out);

}  // namespace concertina::server::openai
