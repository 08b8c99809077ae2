#pragma once

#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe.h"
#include "tokenizer/json_field.h"
#include "tokenizer/vocabulary.h"

// "model" and "added_tokens" of tokenizer.json.
namespace concertina::tokenizer {

struct ModelFile {
  Vocabulary vocabulary;  // the model's tokens and the added ones
  MergeTable merges;
  JoinTable joins;
  SymbolTable symbols;
  BpeOptions options;
};

Result<ModelFile> read_model(const JsonField& root, SymbolUnit unit, const std::vector<AddedToken>& added);

Result<std::vector<AddedToken>> read_added_tokens(const JsonField& root);
Result<AddedToken> read_added_token(const JsonField& field, TokenId id);  // all but the id

}  // namespace concertina::tokenizer
