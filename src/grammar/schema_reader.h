#pragma once

#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "grammar/error.h"
#include "grammar/json_rules.h"
#include "grammar/rule_set.h"

namespace concertina::grammar {

using Json = nlohmann::ordered_json;

// A schema and where it stands in its document.
struct PlacedSchema {
  const Json* schema = nullptr;
  std::string pointer;
};

tl::unexpected<Error> refuse_keyword(const std::string& pointer, const std::string& what);   // kUnsupported
tl::unexpected<Error> invalid_keyword(const std::string& pointer, const std::string& what);  // kInvalid
std::string pointer_to(const std::string& pointer, const std::string& name);

// One document to rules: a rule for each different schema, made in turn from a list of those called for, so
// that no nesting and no reference makes the stack deep.
class SchemaReader {
 public:
  // `json`: of the same set; several documents share what is JSON's own.
  SchemaReader(RuleSet& rules, const Json& document, JsonRules& json)
      : rules_(rules), document_(document), json_(json) {}
  Result<RuleIndex> read();  // the rule of the document, once

  // For the readers of one type each (schema_types.h).
  RuleIndex rule_of(PlacedSchema placed);
  RuleSet& rules() { return rules_; }
  JsonRules& json() { return json_; }

 private:
  struct Wanted {
    PlacedSchema placed;
    RuleIndex rule;
  };
  Status make(const Wanted& wanted);
  Status make_types(const Json& schema, const std::string& pointer, NodeIndex start, NodeIndex end);
  Status make_values(const Json& schema, const std::string& pointer, NodeIndex start, NodeIndex end);
  // The schemas one of which must hold, where the schema is made of others (anyOf, allOf, $ref).
  Result<std::vector<PlacedSchema>> parts_of(const PlacedSchema& placed);
  Result<PlacedSchema> referred(const Json& reference, const std::string& pointer) const;
  Result<PlacedSchema> merged(const PlacedSchema& a, const PlacedSchema& b);
  std::string text_of(const Json& schema);             // and counts its bytes
  Status hold_text(const std::string& pointer) const;  // kTooLarge: there is more than kMaxSchemaText
  Status merge_keyword(Json& into, const std::string& keyword, const Json& value, const std::string& pointer);

  RuleSet& rules_;
  const Json& document_;
  JsonRules& json_;
  std::map<std::string, RuleIndex> known_;  // by the schema's text
  std::deque<Wanted> wanted_;
  std::deque<Json> made_;         // schemas that are in no document
  std::size_t n_text_bytes_ = 0;  // of all schemas that rules were made of, and of made_
};

// Refuses what is not done, and what is not of its type. `schema` is an object.
Status check_keywords(const Json& schema, const std::string& pointer);
bool is_note(const std::string& keyword);

}  // namespace concertina::grammar
