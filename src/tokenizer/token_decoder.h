#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/utf8.h"
#include "tokenizer/vocabulary.h"

namespace concertina::tokenizer {

// What tokenizer.json's "decoder" does, in its order: edits of each token's text; bytes; edits of the whole
// text.
struct ReplaceEdit {
  std::string pattern, content;
};
struct StripEdit {  // up to `n_begin` times `content`, one character, at the beginning; likewise at the end
  std::string content;
  std::size_t n_begin = 0, n_end = 0;
};
struct MetaspaceEdit {  // `replacement` becomes a space; nothing, in the first token of a text with a prefix
  std::string replacement;
  enum class First { kKept, kDropped } first;
};
using TokenEdit = std::variant<ReplaceEdit, StripEdit, MetaspaceEdit>;

struct DecoderPlan {
  enum class Bytes {
    kByteLevel,
    kFallback,
    kNone
  };  // GPT-2's alphabet; tokens <0x00> to <0xFF>; characters only
  Bytes bytes = Bytes::kByteLevel;
  std::vector<TokenEdit> edits;
  std::vector<StripEdit> text_begin;  // n_end is 0
};

// The text that each token stands for. Immutable: any thread may use it.
class TokenDecoder {
 public:
  TokenDecoder(const Vocabulary& vocabulary, DecoderPlan plan);

  std::string_view bytes_of(TokenId id) const;  // within a text; empty for an id not in use
  std::string first_bytes_of(const Vocabulary& vocabulary, TokenId id) const;  // as a text's first token
  bool is_byte(TokenId id) const { return plan_.bytes == DecoderPlan::Bytes::kFallback && byte_[index(id)]; }
  const DecoderPlan& plan() const { return plan_; }

 private:
  enum class TokenPlace { kFirst, kInside };
  std::string decoded(std::string_view token_text, TokenPlace place) const;
  static std::size_t index(TokenId id) { return static_cast<std::size_t>(id); }

  DecoderPlan plan_;
  std::vector<std::string> bytes_;  // [n_ids]
  std::vector<bool> byte_;          // [n_ids]; <0x..>
};

// Whether a decoded text begins with its first token, or goes on a text before it (a prompt), so that spaces
// at its beginning are its own.
enum class TextBegin { kHere, kBefore };

// One text, decoded token by token. What comes out is whole characters. In a run of byte tokens each byte of
// what is no character becomes U+FFFD as soon as that is known. (Hugging Face's library knows the run's end,
// and replaces its good characters too where one byte is wrong: a stream cannot take them back.)
class TextDecoder {
 public:
  TextDecoder(const Vocabulary& vocabulary, const TokenDecoder& decoder, TextBegin begin);

  void push(TokenId id, std::string& out);  // an id of no token adds nothing
  void flush(std::string& out);             // an unfinished character is replaced

 private:
  void push_token(TokenId id, std::string& out);
  void strip_begin(std::size_t begin, std::string& out);

  const Vocabulary* vocabulary_;
  const TokenDecoder* decoder_;
  Utf8Stream stream_;
  bool at_first_token_;
  std::size_t strip_;           // index in the plan's text_begin: the one under way
  std::size_t n_stripped_ = 0;  // by it
};

}  // namespace concertina::tokenizer
