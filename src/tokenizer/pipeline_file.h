#pragma once

#include <vector>

#include "tokenizer/json_field.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/vocabulary.h"

// The parts of tokenizer.json around the model. `root` is the whole file; absent and null mean the same.
namespace concertina::tokenizer {

Result<Normalization> read_normalizer(const JsonField& root);
Result<PreTokenizer> read_pre_tokenizer(const JsonField& root);
Status check_decoder(const JsonField& root);  // ByteLevel, alone or in a Sequence

struct PromptTemplate {
  std::vector<TokenId> prefix, suffix;
};
Result<PromptTemplate> read_post_processor(const JsonField& root, const Vocabulary& vocabulary);

}  // namespace concertina::tokenizer
