#pragma once

#include <gtest/gtest.h>

#include "grammar/matcher.h"
#include "grammar/test_vocabulary.h"

namespace concertina::grammar {

inline std::shared_ptr<const CompiledGrammar> grammar_of(Language language, std::string_view source) {
  static const auto vocabulary = test_vocabulary();
  auto grammar = CompiledGrammar::compile(language, source, vocabulary);
  if (!grammar) ADD_FAILURE() << source << ": " << grammar.error().message();
  return *grammar;
}

inline bool accepts(const std::shared_ptr<const CompiledGrammar>& grammar, std::string_view text) {
  Matcher matcher(grammar);
  return matcher.accept(text) == Matcher::Accepted::kYes && matcher.is_complete();
}

inline bool accepts(Language language, std::string_view source, std::string_view text) {
  return accepts(grammar_of(language, source), text);
}

// Why a source is refused; empty: it is not.
inline std::string refusal(Language language, std::string_view source) {
  const auto automaton = read_grammar(language, source);
  return automaton ? std::string() : automaton.error().message();
}

}  // namespace concertina::grammar
