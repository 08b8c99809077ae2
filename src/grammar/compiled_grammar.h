#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "grammar/automaton.h"
#include "grammar/mask_tables.h"
#include "grammar/token_trie.h"
#include "request/structure.h"

namespace concertina::grammar {

using Language = request::StructureLanguage;

// Reads a source and finds out whether there is a text that it matches. Errors: GrammarError, with the JSON
// pointer and the keyword, or the offset in bytes.
Result<Automaton> read_grammar(Language language, std::string_view source);

// A grammar for one vocabulary, ready to make masks. Immutable: any thread may read.
class CompiledGrammar {
 public:
  static Result<std::shared_ptr<const CompiledGrammar>> compile(Language language, std::string_view source,
                                                                std::shared_ptr<const Vocabulary> vocabulary);
  CompiledGrammar(Automaton automaton, std::shared_ptr<const Vocabulary> vocabulary)
      : vocabulary_(std::move(vocabulary)),
        automaton_(std::move(automaton)),
        tables_(automaton_, *vocabulary_) {}

  const Automaton& automaton() const { return automaton_; }
  const Vocabulary& vocabulary() const { return *vocabulary_; }
  const MaskTables& tables() const { return tables_; }

 private:
  std::shared_ptr<const Vocabulary> vocabulary_;
  Automaton automaton_;
  MaskTables tables_;
};

}  // namespace concertina::grammar
