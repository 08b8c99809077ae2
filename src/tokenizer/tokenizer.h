#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "tokenizer/error.h"
#include "tokenizer/special_tokens.h"
#include "tokenizer/token_decoder.h"

namespace concertina::tokenizer {

enum class AddSpecialTokens { kYes, kNo };   // what the post-processor puts around a prompt (bos, ...)
enum class SkipSpecialTokens { kYes, kNo };  // when decoding

struct TokenizerParts;  // what the files hold, ready to use (tokenizer_file.h)

// Text to token ids and back: BPE of bytes or, SentencePiece's way, of characters with byte fallback, as
// Hugging Face's tokenizers library does it with the same tokenizer.json. Immutable: every method may be
// called from any thread at any time. Copies are cheap (they share the tables).
class Tokenizer {
 public:
  // Reads tokenizer.json and, where there is one, tokenizer_config.json. About 130 ms for 150,000 tokens (8
  // MB). kMissing: the folder has no tokenizer.json; kInvalid, kUnsupported: the message names file, field,
  // found, expected.
  static Result<Tokenizer> load(const std::filesystem::path& model_folder);

  // Special tokens in the text are recognised. Bytes that are not UTF-8 count as U+FFFD. Time is n log n in
  // the text. Does not cut to any length, nor check the model's.
  std::vector<TokenId> encode(std::string_view text, AddSpecialTokens add) const;

  // Valid UTF-8: what is not becomes U+FFFD (TextDecoder). Ids of no token are left out. A space that encode
  // puts before a text is taken off, where the file says so. Does not clean up spaces
  // (clean_up_tokenization_spaces), as no streaming server does.
  std::string decode(std::span<const TokenId> ids, SkipSpecialTokens skip) const;

  TextDecoder text_decoder(TextBegin begin) const;  // of ids that come one by one; must not outlive this

  // A text of more than n * most_bytes_per_token() bytes (as given to encode) has more than n tokens. Made to
  // refuse a text before encoding it: it never refuses one that fits. The largest std::size_t where a token
  // may stand for text of any length: a token with lstrip or rstrip takes any amount of white space, a
  // normalizer or a Split may remove text, unknown bytes may be left out or make one token (token_bound.h).
  std::size_t most_bytes_per_token() const;

  std::size_t vocab_size() const;  // highest id in use + 1, added tokens included
  std::optional<TokenId> token_to_id(
      std::string_view text) const;                // text as in the file ("Ġthe", "<|im_end|>")
  std::string_view token_text(TokenId id) const;   // the other way; empty for an id of no token
  std::string_view token_bytes(TokenId id) const;  // what it adds to a text; empty for an id of no token
  bool is_special(TokenId id) const;
  const SpecialTokens& special_tokens() const;

 private:
  explicit Tokenizer(std::shared_ptr<const TokenizerParts> parts) : parts_(std::move(parts)) {}
  std::shared_ptr<const TokenizerParts> parts_;
};

}  // namespace concertina::tokenizer
