#include "server/openai/structure_checker.h"

#include "grammar/compiled_grammar.h"

namespace concertina::server::openai {

bool StructureChecker::is_known(const request::Structure& structure) {
  if (structure.language == request::StructureLanguage::kJsonObject) return true;
  const std::lock_guard lock(mutex_);
  return good_.find(structure) != nullptr;
}

// Two threads may read the same source at once: both say the same of it.
std::string StructureChecker::check(const request::Structure& structure) {
  if (is_known(structure)) return {};
  if (const auto read = grammar::read_grammar(structure.language, structure.source); !read)
    return read.error().message();
  const std::lock_guard lock(mutex_);
  if (good_.find(structure) == nullptr) good_.keep(structure, {}, 0);
  return {};
}

}  // namespace concertina::server::openai
