#pragma once

#include <unordered_map>

#include "tokenizer/bpe.h"
#include "tokenizer/split.h"
#include "tokenizer/tokenizer.h"

namespace concertina::tokenizer {

struct AddedToken {
  TokenId id = 0;
  std::string content;
  enum class Strip : std::uint8_t { kNo, kYes } left = Strip::kNo, right = Strip::kNo;
  enum class Match : std::uint8_t { kAnywhere, kWholeWord } match = Match::kAnywhere;
};

struct Tokenizer::State {
  enum class Normalizer : std::uint8_t { kNone, kNfc } normalizer = Normalizer::kNone;
  enum class PrefixSpace : std::uint8_t { kNo, kYes } prefix_space = PrefixSpace::kNo;
  std::vector<SplitExpression> splits;  // applied one after the other
  BytePairEncoder encoder;
  std::vector<AddedToken> added;                // longest content first
  std::vector<std::string> bytes;               // [vocab_size] raw bytes of each id
  std::vector<char> special;                    // [vocab_size]
  std::vector<TokenId> prefix_ids, suffix_ids;  // of the post-processor
  std::string bos_token, eos_token;

  std::string normalize(std::string_view text) const;
  void encode_plain(std::string_view text, std::vector<TokenId>& out) const;  // no added token inside
  const AddedToken* added_at(std::string_view text, std::size_t place) const;
};

}  // namespace concertina::tokenizer
