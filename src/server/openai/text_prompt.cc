#include "server/openai/text_prompt.h"

#include <fmt/format.h>

namespace concertina::server::openai {

void add_text_prompt(Fields& fields, const char* name, const std::string& text,
                     tokenizer::AddSpecialTokens add, const ParseContext& context, Parameters& out) {
  const std::size_t per_token = context.tokenizer->most_bytes_per_token(),
                    most_tokens = context.model.max_model_len;
  if (text.size() / per_token > most_tokens) {
    return fields.fail(
        {400,
         fmt::format("{} has {} bytes, but no text of more than {} bytes fits into the model's length of {} "
                     "tokens, answer included",
                     name, text.size(), per_token * (most_tokens + 1), most_tokens),
         name, "context_length_exceeded"});
  }
  out.prompts.push_back(context.tokenizer->encode(text, add));
}

}  // namespace concertina::server::openai
