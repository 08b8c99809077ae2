// The public JSON-Schema-Test-Suite, draft 2020-12 (testdata/json_schema_test_suite, MIT). What its valid
// documents are must be accepted in each way of writing that json_schema.h names, what its invalid ones are
// in none.
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "grammar/grammar_of.h"

namespace concertina::grammar {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

const fs::path kSuite = fs::path(CONCERTINA_SOURCE_DIR) / "src/grammar/testdata/json_schema_test_suite";

// A whole number is written as one.
void write_whole_numbers(Json& value) {
  if (value.is_structured())
    for (auto& member : value) write_whole_numbers(member);
  if (value.is_number_float() && value.get<double>() == std::floor(value.get<double>()) &&
      std::abs(value.get<double>()) <= 9007199254740992.0)
    value = static_cast<std::int64_t>(value.get<double>());
}

// Names in the order in which json_schema.h has them: of `properties` (those of allOf's after the schema's
// own), of `required`, of a constant.
void add_names(const Json& schema, std::vector<std::string>& names) {
  if (!schema.is_object()) return;
  const Json properties = schema.value("properties", Json::object()),
             constant = schema.value("const", Json());
  const Json required = schema.value("required", Json::array());
  for (const auto& [name, unused] : properties.items()) names.push_back(name);
  const Json parts = schema.value("allOf", Json::array());
  for (const auto& part : parts) add_names(part, names);
  for (const auto& name : required) names.push_back(name);
  if (constant.is_object())
    for (const auto& [name, unused] : constant.items()) names.push_back(name);
}

Json in_order(const Json& document, const Json& schema) {
  if (!document.is_object()) return document;
  std::vector<std::string> names;
  add_names(schema, names);
  Json ordered = Json::object();
  for (const auto& name : names)
    if (document.contains(name)) ordered[name] = document[name];
  for (const auto& [name, value] : document.items()) ordered[name] = value;
  return ordered;
}

std::vector<std::string> writings(const Json& document) {
  std::string python;  // as Python's json.dumps: a blank behind commas and colons
  bool in_string = false, escaped = false;
  for (const char c : document.dump()) {
    python += c;
    if (!in_string && (c == ',' || c == ':')) python += ' ';
    if (c == '"' && !escaped) in_string = !in_string;
    escaped = c == '\\' && !escaped;
  }
  return {document.dump(), python, document.dump(2)};
}

struct Tally {
  int n_passed = 0, n_refused = 0;
  std::vector<std::string> wrong;
  std::map<std::string, int> refusals;
};

Tally run(const fs::path& file) {
  Tally tally;
  for (const auto& group : Json::parse(std::ifstream(file))) {
    const Json& schema = group["schema"];
    const auto vocabulary = test_vocabulary();
    const auto grammar = CompiledGrammar::compile(Language::kJsonSchema, schema.dump(), vocabulary);
    for (const auto& test : group["tests"]) {
      const std::string name =
          group["description"].get<std::string>() + ": " + test["description"].get<std::string>();
      if (!grammar && grammar.error().is(GrammarError::kUnsupported)) {
        ++tally.n_refused;
        ++tally.refusals[grammar.error().message()];
        continue;
      }
      Json document = test["data"];
      write_whole_numbers(document);
      document = in_order(document, schema);
      bool is_right = true;
      for (const auto& text : writings(document))
        is_right &= (grammar && accepts(*grammar, text)) == test["valid"].get<bool>();
      if (is_right)
        ++tally.n_passed;
      else
        tally.wrong.push_back(name + (grammar ? "" : " (" + grammar.error().message() + ")"));
    }
  }
  return tally;
}

class SchemaSuite : public testing::TestWithParam<const char*> {};

TEST_P(SchemaSuite, AcceptsWhatIsValidAndNothingElse) {
  const std::string name = GetParam();
  const Tally tally = run(kSuite / (name + ".json"));
  std::cout << name << ": " << tally.n_passed << " pass, " << tally.n_refused
            << " of schemas that are refused by keyword\n";
  for (const auto& [why, n] : tally.refusals) std::cout << "  " << n << ": " << why << "\n";
  EXPECT_THAT(tally.wrong, testing::IsEmpty());
  EXPECT_GT(tally.n_passed + tally.n_refused, 0);
}

INSTANTIATE_TEST_SUITE_P(, SchemaSuite,
                         testing::Values("type", "enum", "const", "properties", "required",
                                         "additionalProperties", "items", "prefixItems", "minItems",
                                         "maxItems", "minLength", "maxLength", "pattern", "minimum",
                                         "maximum", "exclusiveMinimum", "exclusiveMaximum", "anyOf", "allOf",
                                         "ref", "boolean_schema", "infinite-loop-detection", "format/date",
                                         "format/date-time", "format/uuid", "format/email"));

}  // namespace
}  // namespace concertina::grammar
