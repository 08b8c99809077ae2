#pragma once

#include <vector>

#include "tokenizer/json_field.h"
#include "tokenizer/vocabulary.h"

namespace concertina::tokenizer {

// What is put around a text, where special tokens are added.
struct PromptTemplate {
  std::vector<TokenId> prefix, suffix;
};

// "post_processor" of tokenizer.json. `root` is the whole file; absent and null: nothing.
Result<PromptTemplate> read_post_processor(const JsonField& root, const Vocabulary& vocabulary);

}  // namespace concertina::tokenizer
