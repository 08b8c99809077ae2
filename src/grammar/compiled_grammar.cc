#include "grammar/compiled_grammar.h"

#include <fmt/format.h>

#include "grammar/ebnf.h"
#include "grammar/frames.h"
#include "grammar/json_schema.h"
#include "grammar/limits.h"
#include "grammar/regex.h"

namespace concertina::grammar {
namespace {

Status read_regex(RuleSet& rules, std::string_view source) {
  const RuleIndex root = rules.add_rule("regex");
  const auto [name, start, end] = rules.rules()[root];
  ASSIGN_OR_RETURN(const NodeIndex last,
                   append_regex(rules, start, source, RegexMatch::kWhole, Writing::kPlain));
  rules.add_skip(last, end);
  return {};
}

Status read(RuleSet& rules, Language language, std::string_view source) {
  switch (language) {
    case Language::kJsonSchema:
      return read_json_schema(rules, source);
    case Language::kRegex:
      return read_regex(rules, source);
    case Language::kEbnf:
      return read_ebnf(rules, source);
    case Language::kJsonObject:
      return read_json_object(rules);
    case Language::kChoice:
      return read_choice(rules, source);
    case Language::kFrames:
      return read_frames(rules, source);
  }
  return {};
}

}  // namespace

Result<Automaton> read_grammar(Language language, std::string_view source) {
  if (source.size() > kMaxSourceBytes)
    return fail(GrammarError::kTooLarge,
                fmt::format("{} bytes, and at most {} are read", source.size(), kMaxSourceBytes));
  RuleSet rules;
  RETURN_IF_ERROR(read(rules, language, source));
  return Automaton::make(rules);
}

Result<std::shared_ptr<const CompiledGrammar>> CompiledGrammar::compile(
    Language language, std::string_view source, std::shared_ptr<const Vocabulary> vocabulary) {
  ASSIGN_OR_RETURN(Automaton automaton, read_grammar(language, source));
  return std::make_shared<const CompiledGrammar>(std::move(automaton), std::move(vocabulary));
}

}  // namespace concertina::grammar
