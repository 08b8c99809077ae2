#include "jinja/value.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "jinja/error.h"
#include "jinja/text.h"

namespace concertina::jinja {

const Value* Dict::find(std::string_view key) const {
  if (!by_key_.empty()) {
    const auto found =
        std::lower_bound(by_key_.begin(), by_key_.end(), key,
                         [&](std::uint32_t at, std::string_view k) { return entries_[at].first < k; });
    return found == by_key_.end() || entries_[*found].first != key ? nullptr : &entries_[*found].second;
  }
  for (const auto& [name, value] : entries_) {
    if (name == key) return &value;
  }
  return nullptr;
}

void Dict::reserve(std::size_t n) { entries_.reserve(n); }

void Dict::index() {
  constexpr std::size_t kSmall = 16;
  if (entries_.size() <= kSmall) return;
  by_key_.resize(entries_.size());
  std::iota(by_key_.begin(), by_key_.end(), 0);
  std::ranges::sort(by_key_, {}, [&](std::uint32_t at) -> const std::string& { return entries_[at].first; });
}

void Dict::set(std::string_view key, Value value) {
  if (const Value* found = find(key)) {
    *const_cast<Value*>(found) = std::move(value);
  } else {
    append_new(std::string(key), std::move(value));
  }
}

void Dict::append_new(std::string key, Value value) {
  entries_.emplace_back(std::move(key), std::move(value));
}

bool Dict::erase(std::string_view key) {
  return std::erase_if(entries_, [&](const auto& entry) { return entry.first == key; }) > 0;
}

namespace {

// What a container takes over from its items.
struct Totals {
  int depth = 1;
  std::size_t weight = 1;
};

Status add_item(const Value& item, Totals& totals) {
  if (!item.may_be_stored())
    return template_error(fmt::format("a {} cannot be put in a container", item.type_name()));
  if (__builtin_add_overflow(totals.weight, item.weight(), &totals.weight))
    totals.weight = std::numeric_limits<std::size_t>::max();
  totals.depth = std::max(totals.depth, item.depth() + 1);
  if (totals.depth > Value::kMaxDepth)
    return template_error(fmt::format("values nested more than {} deep", Value::kMaxDepth));
  return {};
}

void append_repr(const Value& value, std::string& out);

void append_quoted(const std::string& text, std::string& out) {
  const char quote = text.find('\'') != std::string::npos && text.find('"') == std::string::npos ? '"' : '\'';
  out += quote;
  for (const char c : text) {
    switch (c) {
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\\':
        out += "\\\\";
        break;
      default:
        if (c == quote) out += '\\';
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
          out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
        } else {
          out += c;
        }
    }
  }
  out += quote;
}

void append_list(const Value& list, std::string& out) {
  const List& items = list.as_list();
  out += list.is_tuple() ? '(' : '[';
  for (std::size_t i = 0; i < items.size() && out.size() <= kMaxTextBytes; ++i) {
    if (i > 0) out += ", ";
    append_repr(items[i], out);
  }
  if (list.is_tuple() && items.size() == 1) out += ',';
  out += list.is_tuple() ? ')' : ']';
}

void append_dict(const Dict& dict, std::string& out) {
  out += '{';
  const auto& entries = dict.entries();
  for (std::size_t i = 0; i < entries.size() && out.size() <= kMaxTextBytes; ++i) {
    if (i > 0) out += ", ";
    append_quoted(entries[i].first, out);
    out += ": ";
    append_repr(entries[i].second, out);
  }
  out += '}';
}

void append_repr(const Value& value, std::string& out) {
  if (value.is_text()) return append_quoted(value.as_text(), out);
  if (value.is_list()) return append_list(value, out);
  if (value.is_dict()) return append_dict(value.as_dict(), out);
  out += value.is_undefined() ? "Undefined" : value.to_text();
}

}  // namespace

Result<Value> Value::list(List items, SequenceKind kind) {
  if (items.size() > kMaxItems) return template_error(fmt::format("a list of more than {} items", kMaxItems));
  Totals totals;
  for (const Value& item : items) RETURN_IF_ERROR(add_item(item, totals));
  Value value;
  value.data_ =
      std::make_shared<const ListData>(ListData{std::move(items), totals.depth, totals.weight, kind});
  return value;
}

Result<Value> Value::dict(Dict entries) {
  Totals totals;
  for (const auto& [key, item] : entries.entries()) RETURN_IF_ERROR(add_item(item, totals));
  entries.index();
  Value value;
  value.data_ = std::make_shared<const DictData>(DictData{std::move(entries), totals.depth, totals.weight});
  return value;
}

Result<Value> Value::make_namespace(Dict entries) {
  Totals totals;
  for (const auto& [key, item] : entries.entries()) RETURN_IF_ERROR(add_item(item, totals));
  Value value;
  value.data_ = std::make_shared<NamespaceData>(NamespaceData{std::move(entries)});
  return value;
}

const List& Value::as_list() const { return std::get<std::shared_ptr<const ListData>>(data_)->items; }
SequenceKind Value::sequence_kind() const { return std::get<std::shared_ptr<const ListData>>(data_)->kind; }
const Dict& Value::as_dict() const { return std::get<std::shared_ptr<const DictData>>(data_)->entries; }
Dict& Value::as_namespace() const { return std::get<std::shared_ptr<NamespaceData>>(data_)->entries; }

int Value::depth() const {
  if (const auto* list = std::get_if<std::shared_ptr<const ListData>>(&data_)) return (*list)->depth;
  if (const auto* dict = std::get_if<std::shared_ptr<const DictData>>(&data_)) return (*dict)->depth;
  return 0;
}

std::size_t Value::weight() const {
  if (is_text()) return 1 + as_text().size() / kBytesOfAStep;
  if (const auto* list = std::get_if<std::shared_ptr<const ListData>>(&data_)) return (*list)->weight;
  if (const auto* dict = std::get_if<std::shared_ptr<const DictData>>(&data_)) return (*dict)->weight;
  return 1;
}

const void* Value::identity() const {
  return std::visit(
      [](const auto& data) -> const void* {
        if constexpr (requires { data.get(); }) {
          return data.get();
        } else {
          return nullptr;
        }
      },
      data_);
}

bool Value::truth() const {
  if (is_undefined() || is_none()) return false;
  if (is_number()) return as_double() != 0;
  if (is_text()) return !as_text().empty();
  if (is_list()) return !as_list().empty();
  if (is_dict()) return !as_dict().entries().empty();
  return true;
}

const char* Value::type_name() const {
  static constexpr const char* kNames[] = {"undefined value", "None",     "bool",   "integer",
                                           "float",           "string",   "list",   "dictionary",
                                           "namespace",       "function", "integer"};
  if (is_tuple()) return "tuple";
  return kNames[data_.index()];
}

std::string Value::to_text() const {
  if (is_undefined()) return "";
  if (is_none()) return "None";
  if (is_bool()) return as_bool() ? "True" : "False";
  if (is_integer()) return fmt::format("{}", as_integer());
  if (is_float()) return float_text(as_double());
  if (is_text()) return as_text();
  if (is_wide_integer()) return *std::get<WideInteger>(data_).digits;
  if (is_namespace()) return "<Namespace>";
  if (is_function()) return fmt::format("<function {}>", as_function().name);
  return repr();
}

std::string Value::repr() const {
  std::string out;
  append_repr(*this, out);
  return out;
}

const Value* Arguments::get(std::size_t index, std::string_view name) const {
  if (index < positional.size()) return &positional[index];
  for (const auto& [keyword_name, value] : keyword) {
    if (keyword_name == name) return &value;
  }
  return nullptr;
}

Status Arguments::check(std::string_view function, const std::vector<std::string_view>& names) const {
  if (positional.size() > names.size()) {
    return template_error(
        fmt::format("{}: takes at most {} arguments, found {}", function, names.size(), positional.size()));
  }
  for (const auto& [name, value] : keyword) {
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      return template_error(fmt::format("{}: has no argument called {}", function, name));
    }
  }
  return {};
}

tl::unexpected<Error> template_error(std::string message) {
  return fail(JinjaError::kInvalid, std::move(message));
}

Result<Value> text_value(std::string text) {
  if (text.size() > kMaxTextBytes)
    return fail(JinjaError::kTooLong, fmt::format("a text of more than {} bytes", kMaxTextBytes));
  return Value(std::move(text));
}

bool equal(const Value& a, const Value& b) {
  if (a.identity() != nullptr && a.identity() == b.identity()) return true;
  if (a.is_integral() && b.is_integral()) return a.as_integer() == b.as_integer();
  if (a.is_number() && b.is_number()) return a.as_double() == b.as_double();
  if (a.is_text() && b.is_text()) return a.as_text() == b.as_text();
  if (a.is_list() && b.is_list()) {
    return a.is_tuple() == b.is_tuple() && std::ranges::equal(a.as_list(), b.as_list(), equal);
  }
  if (a.is_dict() && b.is_dict()) {
    const auto& entries = a.as_dict().entries();
    return entries.size() == b.as_dict().entries().size() &&
           std::ranges::all_of(entries, [&](const auto& entry) {
             const Value* other = b.as_dict().find(entry.first);
             return other != nullptr && equal(entry.second, *other);
           });
  }
  if (a.is_wide_integer() && b.is_wide_integer()) return a.to_text() == b.to_text();
  return (a.is_none() && b.is_none()) || (a.is_undefined() && b.is_undefined());
}

Result<int> compare(const Value& a, const Value& b) {
  if (a.is_text() && b.is_text())
    return a.as_text().compare(b.as_text());  // UTF-8 sorts as its code points do
  if (a.is_integral() && b.is_integral())
    return a.as_integer() < b.as_integer() ? -1 : a.as_integer() > b.as_integer();
  if (a.is_number() && b.is_number())
    return a.as_double() < b.as_double() ? -1 : a.as_double() > b.as_double();
  return template_error(fmt::format("cannot order a {} and a {}", a.type_name(), b.type_name()));
}

Result<bool> contains(const Value& container, const Value& item) {
  if (container.is_undefined()) return false;
  if (container.is_text()) {
    if (item.is_text()) return container.as_text().find(item.as_text()) != std::string::npos;
    return template_error(fmt::format("cannot look for a {} in a string", item.type_name()));
  }
  if (container.is_dict()) return item.is_text() && container.as_dict().find(item.as_text()) != nullptr;
  if (container.is_list()) {
    return std::ranges::any_of(container.as_list(), [&](const Value& other) { return equal(item, other); });
  }
  return template_error(fmt::format("cannot look for something in a {}", container.type_name()));
}

Result<List> iterate(const Value& value) {
  if (value.is_undefined()) return List{};
  if (value.is_list()) return value.as_list();
  List items;
  if (value.is_dict()) {
    for (const auto& [key, item] : value.as_dict().entries()) items.emplace_back(key);
    return items;
  }
  if (!value.is_text()) return template_error(fmt::format("a {} cannot be iterated", value.type_name()));
  for (const std::string_view character : characters(value.as_text()))
    items.emplace_back(std::string(character));
  return items;
}

std::string float_text(double value) {
  std::string text = fmt::format("{}", value);
  if (std::isfinite(value) && text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

}  // namespace concertina::jinja
