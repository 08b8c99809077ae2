#pragma once

#include "grammar/matcher.h"
#include "request/request.h"

namespace concertina::grammar {

// One request's answer in its structure: what its next token may be, a function of the grammar and of the
// tokens that it has generated, so that it may be made again anywhere. One thread.
//
// Before the structure begins (Structure::begins_after) any token may come. Then those that the grammar
// takes, and end tokens (eos, stop ids) exactly where the text is complete: an end token that the grammar
// could read as text is refused elsewhere, or the answer would end there as no text of the grammar. Behind an
// eos that does not end the request (ignore_eos) only eos follows.
class Answer {
 public:
  Answer(std::shared_ptr<const CompiledGrammar> grammar, const request::Request& request);

  // Reads what was generated since the last call; all of it anew where `request` has fewer tokens than were
  // read. Writes every word of `mask`, [n_mask_words] of the vocabulary. False: any token may come, and
  // nothing was written.
  bool fill_mask(const request::Request& request, std::span<std::uint64_t> mask);

 private:
  enum class At : std::uint8_t { kBegin, kThought, kText, kEnd, kNowhere };
  void restart();
  void read(const request::Request& request, std::size_t n_generated);
  bool ends_thought(const request::Request& request, std::size_t n_generated) const;
  void read_text(const request::Request& request, TokenId token);
  static bool is_end(const request::Request& request, TokenId token);

  std::shared_ptr<const CompiledGrammar> grammar_;
  request::SharedStructure structure_;
  std::optional<Matcher> matcher_;
  At at_ = At::kBegin;
  std::size_t n_read_ = 0;  // generated tokens
};

}  // namespace concertina::grammar
