#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "grammar/matcher.h"
#include "grammar/test_vocabulary.h"

namespace concertina::grammar {

// Follows the masks of a source for some tokens, always another one of those that are allowed.
inline void walk_what_compiles(Language language, std::string_view source) {
  static const auto vocabulary = test_vocabulary();
  const auto grammar = CompiledGrammar::compile(language, source, vocabulary);
  if (!grammar) return;
  Matcher matcher(*grammar);
  std::vector<std::uint64_t> mask(vocabulary->n_mask_words());
  for (std::size_t step = 0; step < 12; ++step) {
    matcher.fill_mask(mask);
    std::vector<TokenId> allowed;
    for (TokenId token = 0; token < static_cast<TokenId>(vocabulary->vocab_size()); ++token) {
      const bool is_allowed = (mask[static_cast<std::size_t>(token) / 64] >> (token % 64)) & 1;
      if (is_allowed) allowed.push_back(token);
      Matcher copy = matcher;
      const bool is_read = copy.accept(token) == Matcher::Accepted::kYes;
      CHECK(is_allowed == is_read || matcher.has_overflown() || copy.has_overflown(), "token {}", token);
    }
    CHECK(!allowed.empty() || matcher.is_complete() || matcher.has_overflown(),
          "nothing may follow, and it is no end");
    if (allowed.empty()) return;
    CHECK(
        matcher.accept(allowed[(step * 7919 + source.size()) % allowed.size()]) == Matcher::Accepted::kYes ||
            matcher.has_overflown(),
        "a token that the mask allows");
  }
}

}  // namespace concertina::grammar
