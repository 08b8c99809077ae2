#pragma once

#include "server/fields.h"
#include "server/openai/parameters.h"

namespace concertina::server::openai {

// Whether a text of so many bytes may fit the model's length; and the refusal of one that does not.
bool fits_bytes(std::size_t n_bytes, const ParseContext& context);
void fail_too_long(Fields& fields, const char* name, std::size_t n_bytes, const ParseContext& context);

// Adds the ids of `text`, which came from or as the field `name`, as a prompt. A text that cannot fit is
// refused by its bytes, before anybody spends time on its tokens.
void add_text_prompt(Fields& fields, const char* name, const std::string& text,
                     tokenizer::AddSpecialTokens add, const ParseContext& context, Parameters& out);

}  // namespace concertina::server::openai
