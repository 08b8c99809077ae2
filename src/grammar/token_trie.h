#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace concertina::grammar {

// Where a walk over text stands: text is whole characters, plain ones (printable ASCII without quotes and
// backslashes, what a JSON string has in most places) or such of several bytes.
enum class TextState : std::uint8_t {
  kBetween,
  kOneToCome,
  kTwoToCome,
  kThreeToCome,
  kAfterE0,
  kAfterED,
  kAfterF0,
  kAfterF4
};

struct TextStep {
  TextState to = TextState::kBetween;
  bool is_text = true;  // if not: begun anew behind the byte
};
TextStep text_step(TextState from, std::uint8_t byte);

inline bool is_plain(std::uint8_t byte) { return byte >= 0x20 && byte < 0x7F && byte != '"' && byte != '\\'; }

// Texts of tokens as a tree of bytes, in the order of a walk that visits parents first: one array.
class TokenTrie {
 public:
  struct Node {
    std::uint32_t end = 0;          // the node after all that begin with this one's bytes
    std::uint32_t token_begin = 0;  // of the tokens that are these bytes: up to the next node's
    std::uint16_t depth = 0;        // of the root: 0
    std::uint8_t byte = 0;
    std::uint8_t text_below = 0;  // most characters of the tokens below it; kNotText: not all are text
    TextState text = TextState::kBetween;  // after its bytes
    bool is_text = true;                   // its byte goes on the text before it
  };
  static constexpr std::uint8_t kNotText = 255;
  struct Entry {
    std::string_view bytes;
    TokenId token = 0;
  };

  TokenTrie() : TokenTrie(std::vector<Entry>()) {}
  explicit TokenTrie(std::vector<Entry> entries);

  std::span<const Node> nodes() const { return std::span(nodes_).first(nodes_.size() - 1); }  // [0]: the root
  std::span<const TokenId> tokens_of(std::uint32_t node) const {
    return std::span(tokens_).subspan(nodes_[node].token_begin,
                                      nodes_[node + 1].token_begin - nodes_[node].token_begin);
  }
  std::span<const TokenId> tokens_below(std::uint32_t node) const {
    const std::size_t begin = nodes_[node + 1].token_begin;
    return std::span(tokens_).subspan(begin, nodes_[nodes_[node].end].token_begin - begin);
  }
  std::size_t depth() const { return depth_; }  // of the deepest node
  std::size_t n_tokens() const { return tokens_.size(); }

 private:
  void find_text();
  std::vector<Node> nodes_;  // one more, for the last one's tokens
  std::vector<TokenId> tokens_;
  std::size_t depth_ = 0;
};

// What a model's tokens stand for. Immutable: any thread may read. About 10 MB for 150,000 tokens.
class Vocabulary {
 public:
  // bytes[id]: empty for what no grammar yields (special tokens, ids of no token). vocab_size: of the logits,
  // bytes.size() or more.
  Vocabulary(std::vector<std::string> bytes, std::size_t vocab_size);

  std::string_view bytes_of(TokenId token) const;  // empty: of no token
  const TokenTrie& trie() const { return trie_; }
  // A mask of all tokens that are text of at most so many characters; at most kMostText.
  static constexpr std::size_t kMostText = 24;
  const std::vector<std::uint64_t>& text_up_to(std::size_t n) const { return text_[n]; }
  std::size_t n_text_up_to(std::size_t n) const { return n_text_[n]; }
  std::size_t vocab_size() const { return vocab_size_; }
  std::size_t n_mask_words() const { return (vocab_size_ + 63) / 64; }

 private:
  std::vector<std::string> bytes_;
  std::size_t vocab_size_;
  TokenTrie trie_;
  std::vector<std::vector<std::uint64_t>> text_;  // [kMostText + 1]
  std::vector<std::size_t> n_text_;
};

}  // namespace concertina::grammar
