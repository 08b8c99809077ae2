#include "server/openai/text_prompt.h"

#include <fmt/format.h>

namespace concertina::server::openai {

bool fits_bytes(std::size_t n_bytes, const ParseContext& context) {
  return n_bytes / context.tokenizer->most_bytes_per_token() <= context.model.max_model_len;
}

void fail_too_long(Fields& fields, const char* name, std::size_t n_bytes, const ParseContext& context) {
  const std::size_t per_token = context.tokenizer->most_bytes_per_token(),
                    most_tokens = context.model.max_model_len;
  fields.fail(
      {400,
       fmt::format("{} has {} bytes, but no text of more than {} bytes fits into the model's length of {} "
                   "tokens, answer included",
                   name, n_bytes, per_token * (most_tokens + 1), most_tokens),
       name, "context_length_exceeded"});
}

void add_text_prompt(Fields& fields, const char* name, const std::string& text,
                     tokenizer::AddSpecialTokens add, const ParseContext& context, Parameters& out) {
  if (out.truncate_prompt_tokens == 0 && !fits_bytes(text.size(), context))
    return fail_too_long(fields, name, text.size(), context);
  out.prompts.push_back(context.tokenizer->encode(text, add));
}

}  // namespace concertina::server::openai
