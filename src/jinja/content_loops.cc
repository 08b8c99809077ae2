#include "jinja/content_loops.h"

#include <set>
#include <string>

namespace concertina::jinja {

namespace {

class Search {
 public:
  bool found() const { return found_; }
  std::size_t n_names() const { return names_.size(); }

  void visit(const Body& body) {
    for (const Statement& statement : body)
      std::visit([this](const auto& node) { visit(node); }, statement.node);
  }

 private:
  void visit(const ForStatement& loop) {
    found_ = found_ || is_content(*loop.iterable);
    visit(loop.body);
    visit(loop.otherwise);
  }
  void visit(const SetStatement& set) {
    if (set.targets.size() == 1 && is_content(*set.value)) names_.insert(set.targets[0].name);
  }
  void visit(const IfStatement& statement) {
    for (const auto& [condition, body] : statement.branches) visit(body);
    visit(statement.otherwise);
  }
  void visit(const SetBlockStatement& set) { visit(set.body); }
  void visit(const MacroStatement& macro) { visit(macro.body); }
  void visit(const FilterStatement& filter) { visit(filter.body); }
  void visit(const TextStatement&) {}
  void visit(const OutputStatement&) {}
  void visit(const BreakStatement&) {}
  void visit(const ContinueStatement&) {}

  bool is_content(const Expression& expression) const {
    if (const auto* name = std::get_if<NameNode>(&expression.node)) return names_.contains(name->name);
    if (const auto* member = std::get_if<AttributeNode>(&expression.node)) return member->name == "content";
    if (const auto* filter = std::get_if<FilterNode>(&expression.node)) return is_content(*filter->subject);
    if (const auto* slice = std::get_if<SliceNode>(&expression.node)) return is_content(*slice->object);
    const auto* item = std::get_if<SubscriptNode>(&expression.node);
    const auto* key = item != nullptr ? std::get_if<LiteralNode>(&item->index->node) : nullptr;
    return key != nullptr && key->value.is_text() && key->value.as_text() == "content";
  }

  std::set<std::string> names_ = {"content"};
  bool found_ = false;
};

}  // namespace

bool loops_over_content(const Body& body) {
  Search search;
  for (std::size_t known = 0; known != search.n_names() && !search.found();) {
    known = search.n_names();
    search.visit(body);
  }
  return search.found();
}

}  // namespace concertina::jinja
