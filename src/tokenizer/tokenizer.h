#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace concertina::tokenizer {

enum class AddSpecialTokens : std::uint8_t {
  kNo,
  kYes
};  // what the file's post-processor adds (a bos token, say)
enum class SpecialTokens : std::uint8_t { kKeep, kSkip };  // in decoded text

// tokenizer.json of the byte-level BPE kind (GPT-2, Qwen, Llama 3, OLMoE ...), as Hugging Face's tokenizers
// compute it. Other kinds are refused with what was found. Immutable; any thread.
class Tokenizer {
 public:
  static Result<std::unique_ptr<Tokenizer>> load(const std::filesystem::path& folder);
  ~Tokenizer();

  // Special tokens that stand in the text are recognised. Invalid UTF-8 is replaced first.
  std::vector<TokenId> encode(std::string_view text, AddSpecialTokens add) const;
  // Unknown ids decode to nothing.
  std::string decode(std::span<const TokenId> ids, SpecialTokens special) const;

  std::string_view bytes_of(TokenId id) const;  // raw bytes of a token; empty if unknown
  bool is_special(TokenId id) const;
  std::optional<TokenId> find(std::string_view content) const;  // an added token by its content
  std::size_t vocab_size() const;                               // highest id + 1
  const std::string& bos_token() const;                         // of tokenizer_config.json; may be empty
  const std::string& eos_token() const;

 private:
  struct State;
  friend class TokenizerFile;
  explicit Tokenizer(std::unique_ptr<State> state);
  std::unique_ptr<const State> state_;
};

// Text of one stream as its tokens come. Never emits half a character: after any number of tokens, what was
// returned so far is a prefix of the whole's decode(), and with flush() all of it.
class StreamingDetokenizer {
 public:
  StreamingDetokenizer(const Tokenizer& tokenizer, SpecialTokens special)
      : tokenizer_(&tokenizer), special_(special) {}
  std::string push(TokenId id);
  std::string flush();

 private:
  const Tokenizer* tokenizer_;
  SpecialTokens special_;
  std::string pending_;  // at most three bytes between calls
};

}  // namespace concertina::tokenizer
