#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/ids.h"
#include "tokenizer/tokenizer.h"
#include "tools/formats.h"

namespace concertina::server::openai {

// How the model that is served writes its answers.
struct AnswerFormats {
  tools::Formats formats;
  // Special tokens that are marks of these formats: a parser sees them, a client does not. Ascending.
  std::shared_ptr<const std::vector<TokenId>> marks;
  // The tokens of a thought's marks (tools::ReasoningFormat); empty: thoughts are not split off by marks.
  std::vector<TokenId> thought_begin, thought_end, thought_other_end;
};

AnswerFormats make_answer_formats(const tools::Formats& formats, const tokenizer::Tokenizer* tokenizer);

// An id as OpenAI makes them, or as the format's templates demand it back (Mistral: nine letters and digits).
std::string make_call_id(const tools::Formats& formats);

}  // namespace concertina::server::openai
