#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe.h"
#include "tokenizer/model_file.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/special_tokens.h"
#include "tokenizer/token_decoder.h"
#include "tokenizer/vocabulary.h"

namespace concertina::tokenizer {

// A tokenizer as its files describe it. Neither moves nor is copied: `model` points at `vocabulary`.
struct TokenizerParts {
  TokenizerParts(ModelFile file, DecoderPlan plan)
      : vocabulary(std::move(file.vocabulary)),
        model(vocabulary, std::move(file.merges), std::move(file.joins), std::move(file.symbols),
              file.options),
        decoder(vocabulary, std::move(plan)) {}
  TokenizerParts(const TokenizerParts&) = delete;

  Vocabulary vocabulary;  // the model's tokens and the added ones
  BpeModel model;
  TokenDecoder decoder;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  std::optional<AddedTokenMatcher> raw_matcher, normalized_matcher;
  std::vector<bool> special;            // [vocabulary.n_ids()]
  std::vector<TokenId> prefix, suffix;  // around a text, where special tokens are added
  SpecialTokens special_tokens;
  std::size_t most_bytes_per_token = 0;  // token_bound.h
};

Result<std::shared_ptr<const TokenizerParts>> load_tokenizer_parts(const std::filesystem::path& model_folder);

}  // namespace concertina::tokenizer
