#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace concertina::tokenizer::jinja {

using Value =
    nlohmann::ordered_json;  // keeps the order of keys, as Python's dicts do; discarded means undefined

inline Value undefined() { return Value(Value::value_t::discarded); }
inline bool is_undefined(const Value& value) { return value.is_discarded(); }

// What goes wrong while a template is parsed or rendered. Thrown inside this folder only; parse() and
// render() of ChatTemplate turn it into an error with the template's name.
struct TemplateError {
  std::size_t line = 0;
  std::string what;
};

struct Token {
  enum class Kind { kName, kString, kNumber, kOperator, kEnd } kind = Kind::kEnd;
  std::string text;
  Value value;  // of strings and numbers
  std::size_t line = 0;
};

// Text between tags, or the tokens of one tag.
struct Segment {
  enum class Kind { kText, kOutput, kStatement } kind = Kind::kText;
  std::string text;
  std::vector<Token> tokens;  // the last one is kEnd
  std::size_t line = 0;
};

// With trim_blocks and lstrip_blocks, as transformers renders chat templates.
std::vector<Segment> split_template(std::string_view source);

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct Argument {
  std::string name;  // empty: positional
  ExpressionPtr value;
};

struct Expression {
  enum class Kind {
    kLiteral,
    kName,
    kList,
    kDict,
    kAttribute,
    kIndex,
    kSlice,
    kCall,
    kFilter,
    kTest,
    kUnary,
    kBinary,
    kConditional
  } kind;
  std::string text;  // name, attribute, operator, filter or test
  Value literal;
  std::vector<ExpressionPtr> operands;  // null where a slice leaves one out
  std::vector<Argument> arguments;      // of calls, filters and tests
  std::size_t line = 0;
};

struct Node;
using Body = std::vector<std::unique_ptr<Node>>;

struct Node {
  enum class Kind { kText, kOutput, kIf, kFor, kSet, kSetBlock, kMacro, kBreak, kContinue } kind;
  std::string text;                // text; name of a macro or of a set's variable
  std::string attribute;           // set namespace.attribute
  std::vector<std::string> names;  // targets of for or set; parameters of a macro
  std::vector<ExpressionPtr>
      expressions;           // output; conditions; what is iterated, its filter; value; parameters' defaults
  std::vector<Body> bodies;  // of the conditions, then else; loop, then else; macro
  std::size_t line = 0;
};

Body parse_template(std::string_view source);

}  // namespace concertina::tokenizer::jinja
