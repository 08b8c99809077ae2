#pragma once

#include <bitset>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/ids.h"

namespace concertina::tokenizer {

// A token recognised in the text before anything else is done to it. The fields are tokenizer.json's.
struct AddedToken {
  TokenId id = 0;
  std::string content;
  bool special = false;      // left out of decoded text on request
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space after it
  bool normalized = false;   // looked for in the normalized text, else in the text as it came
};

// Finds added tokens: leftmost, then longest. Immutable: any thread may use it.
class AddedTokenMatcher {
 public:
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  // Calls `visit` for every part of `text`, from left to right: with an id for a token, without for what lies
  // between.
  using Visitor = std::function<void(std::string_view part, std::optional<TokenId> id)>;
  void split(std::string_view text, const Visitor& visit) const;

 private:
  const AddedToken* longest_at(std::string_view text) const;
  void note_beginning(std::string_view content);
  bool may_begin(std::string_view text) const;

  std::vector<AddedToken> tokens_;
  std::unordered_map<std::uint64_t, std::uint32_t> edges_;  // trie: node << 8 | byte -> node; 0 is the root
  std::unordered_map<std::uint32_t, std::size_t> ends_;     // node -> index in tokens_
  std::bitset<65536> begins_;                               // some token begins with these two bytes
};

}  // namespace concertina::tokenizer
