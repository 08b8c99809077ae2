#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"

// Jinja's values, which are Python's, as far as chat templates go. Text is UTF-8, counted in code points.
// Containers are immutable once made (as in transformers' sandbox); only a namespace changes. Keys are texts.
namespace concertina::jinja {

class Value;
struct Arguments;

struct Undefined {
  std::string name;  // what was looked for: for the error when it is used
};
struct None {};
struct WideInteger {  // beyond 64 bits: printed and compared, not counted with
  std::shared_ptr<const std::string> digits;
};
using List = std::vector<Value>;
enum class SequenceKind {
  kList,
  kTuple
};  // they print differently and are never equal; all else is the same

struct ListData;
struct DictData;
struct NamespaceData;

// A macro, a method bound to its value, or a global function.
struct Function {
  std::string name;
  std::function<Result<Value>(const Arguments&)> call;
  enum class Cost : std::uint8_t { kConstant, kItems, kArguments } cost = Cost::kConstant;  // see Budget
  std::size_t n_items = 0;  // of what it is bound to, for kItems and kArguments
};

// Insertion-ordered. Objects of chat templates have few keys: looked up one after the other. A client's
// object may have many: index() sorts them, once it is complete.
class Dict {
 public:
  void reserve(std::size_t n);
  void index();  // no key is added or erased afterwards
  const Value* find(std::string_view key) const;
  void set(std::string_view key, Value value);
  void append_new(std::string key, Value value);  // the key is known not to be there
  bool erase(std::string_view key);
  const std::vector<std::pair<std::string, Value>>& entries() const { return entries_; }

 private:
  std::vector<std::pair<std::string, Value>> entries_;
  std::vector<std::uint32_t> by_key_;  // positions, sorted by key; empty: not indexed
};

class Value {
 public:
  Value() : data_(Undefined{}) {}
  explicit Value(Undefined undefined) : data_(std::move(undefined)) {}
  explicit Value(None) : data_(None{}) {}
  explicit Value(WideInteger integer) : data_(std::move(integer)) {}
  explicit Value(bool value) : data_(value) {}
  explicit Value(std::int64_t value) : data_(value) {}
  explicit Value(double value) : data_(value) {}
  explicit Value(std::string text) : data_(std::make_shared<const std::string>(std::move(text))) {}
  explicit Value(const char*) = delete;  // would be a bool
  explicit Value(Function function) : data_(std::make_shared<const Function>(std::move(function))) {}

  // Fail where nesting passes kMaxDepth or the list kMaxItems, or an item is a namespace or a function: so
  // values hold no cycles, and walking one needs bounded stack.
  static Result<Value> list(List items, SequenceKind kind = SequenceKind::kList);
  static Result<Value> dict(Dict entries);
  static Result<Value> make_namespace(Dict entries);
  static constexpr int kMaxDepth = 100;
  static constexpr std::size_t kMaxItems = 1'000'000;

  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_integer() const { return std::holds_alternative<std::int64_t>(data_); }
  bool is_float() const { return std::holds_alternative<double>(data_); }
  bool is_number() const {
    return is_integer() || is_float() || is_bool();
  }  // a bool counts as 0 or 1, as in Python
  bool is_wide_integer() const { return std::holds_alternative<WideInteger>(data_); }
  bool is_text() const { return std::holds_alternative<std::shared_ptr<const std::string>>(data_); }
  bool is_list() const {
    return std::holds_alternative<std::shared_ptr<const ListData>>(data_);
  }  // or a tuple
  bool is_tuple() const { return is_list() && sequence_kind() == SequenceKind::kTuple; }
  bool is_dict() const { return std::holds_alternative<std::shared_ptr<const DictData>>(data_); }
  bool is_namespace() const { return std::holds_alternative<std::shared_ptr<NamespaceData>>(data_); }
  bool is_function() const { return std::holds_alternative<std::shared_ptr<const Function>>(data_); }
  bool is_integral() const { return is_integer() || is_bool(); }

  const Undefined& as_undefined() const { return std::get<Undefined>(data_); }
  bool as_bool() const { return std::get<bool>(data_); }
  std::int64_t as_integer() const { return is_bool() ? as_bool() : std::get<std::int64_t>(data_); }
  double as_double() const {
    return is_float() ? std::get<double>(data_) : static_cast<double>(as_integer());
  }
  const std::string& as_text() const { return *std::get<std::shared_ptr<const std::string>>(data_); }
  const List& as_list() const;
  SequenceKind sequence_kind() const;  // of a list
  const Dict& as_dict() const;
  Dict& as_namespace() const;
  const Function& as_function() const { return *std::get<std::shared_ptr<const Function>>(data_); }

  int depth() const;  // 0 for what is no container
  // What it takes to walk through all of it, in steps (see Budget): one a value, one each kBytesOfAStep of a
  // text. A value that is in it twice counts twice.
  std::size_t weight() const;
  static constexpr std::size_t kBytesOfAStep = 32;
  bool may_be_stored() const { return !is_namespace() && !is_function(); }
  const void* identity() const;  // equal for the same container or text; nullptr for plain values
  bool truth() const;            // Python's bool()
  const char* type_name() const;
  std::string to_text() const;  // Python's str(); not longer than kMaxTextBytes by much
  std::string repr() const;

 private:
  std::variant<Undefined, None, bool, std::int64_t, double, std::shared_ptr<const std::string>,
               std::shared_ptr<const ListData>, std::shared_ptr<const DictData>,
               std::shared_ptr<NamespaceData>, std::shared_ptr<const Function>, WideInteger>
      data_;
};

struct ListData {
  List items;
  int depth;
  std::size_t weight;
  SequenceKind kind;
};
struct DictData {
  Dict entries;
  int depth;
  std::size_t weight;
};
struct NamespaceData {
  Dict entries;
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keyword;

  // The argument at `index` or called `name`; nullptr where it is not given.
  const Value* get(std::size_t index, std::string_view name) const;
  Status check(std::string_view function,
               const std::vector<std::string_view>& names) const;  // no others are given
};

inline constexpr std::size_t kMaxTextBytes = 16u << 20;

tl::unexpected<Error> template_error(std::string message);  // kInvalid
Result<Value> text_value(std::string text);                 // fails beyond kMaxTextBytes (kTooLong)

bool equal(const Value& a, const Value& b);                        // Python's ==
Result<int> compare(const Value& a, const Value& b);               // < 0, 0, > 0; numbers or texts
Result<bool> contains(const Value& container, const Value& item);  // Python's `item in container`
Result<List> iterate(const Value& value);                          // what a for loop sees
std::string float_text(double value);                              // Python's repr()

}  // namespace concertina::jinja
