#include <algorithm>
#include <array>

#include "jinja/arguments.h"
#include "jinja/builtins.h"
#include "jinja/text.h"

namespace concertina::jinja {

namespace {

using Method = Result<Value> (*)(const Value& self, const Arguments& arguments);

struct NamedMethod {
  std::string_view name;
  Method method;
};

template <StripSide side>
Result<Value> strip_method(const Value& self, const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.check("strip", {"chars"}));
  const Value* chars = arguments.get(0, "chars");
  if (chars == nullptr || chars->is_none()) return Value(std::string(strip(self.as_text(), side)));
  ASSIGN_OR_RETURN(const std::string set, text_argument(chars, "strip: chars", ""));
  return Value(std::string(strip(self.as_text(), side, set)));
}

template <bool from_right>
Result<Value> split_method(const Value& self, const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.check("split", {"sep", "maxsplit"}));
  const Value* separator = arguments.get(0, "sep");
  ASSIGN_OR_RETURN(const std::size_t max_splits,
                   count_argument(arguments.get(1, "maxsplit"), "split: maxsplit"));
  if (separator == nullptr || separator->is_none()) {
    if (from_right && max_splits <= self.as_text().size()) {
      return template_error("rsplit: maxsplit without a separator is not supported");
    }
    return text_list(split_white_space(self.as_text(), max_splits));
  }
  ASSIGN_OR_RETURN(const std::string text, text_argument(separator, "split: sep", ""));
  if (text.empty()) return template_error("split: the separator is empty");
  return text_list(from_right ? split_at_from_right(self.as_text(), text, max_splits)
                              : split_at(self.as_text(), text, max_splits));
}

// startswith and endswith take one text or several.
template <bool at_start>
Result<Value> affix_method(const Value& self, const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.check(at_start ? "startswith" : "endswith", {"affix"}));
  const Value* affix = arguments.get(0, "affix");
  const std::string& text = self.as_text();
  const auto fits = [&](const Value& a) {
    return a.is_text() && (at_start ? text.starts_with(a.as_text()) : text.ends_with(a.as_text()));
  };
  if (affix != nullptr && affix->is_list()) return Value(std::ranges::any_of(affix->as_list(), fits));
  if (affix == nullptr || !affix->is_text()) {
    return template_error(fmt::format("{} needs a string", at_start ? "startswith" : "endswith"));
  }
  return Value(fits(*affix));
}

template <std::string (*map)(std::string_view)>
Result<Value> map_method(const Value& self, const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.check("this method", {}));
  return Value(map(self.as_text()));
}

Result<Value> replace_method(const Value& self, const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.check("replace", {"old", "new", "count"}));
  if (arguments.get(1, "new") == nullptr) return template_error("replace needs two strings");
  ASSIGN_OR_RETURN(const std::string from, text_argument(arguments.get(0, "old"), "replace: old", ""));
  ASSIGN_OR_RETURN(const std::string to, text_argument(arguments.get(1, "new"), "replace: new", ""));
  ASSIGN_OR_RETURN(const std::size_t count, count_argument(arguments.get(2, "count"), "replace: count"));
  return replaced(self.as_text(), from, to, count);
}

template <bool prefix>
Result<Value> remove_affix_method(const Value& self, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const std::string affix, text_argument(arguments.get(0, "affix"), "the affix", ""));
  std::string_view text = self.as_text();
  if (prefix && text.starts_with(affix)) text.remove_prefix(affix.size());
  if (!prefix && text.ends_with(affix)) text.remove_suffix(affix.size());
  return Value(std::string(text));
}

template <bool from_right>
Result<Value> find_method_of_text(const Value& self, const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.check("find", {"sub"}));
  ASSIGN_OR_RETURN(const std::string wanted, text_argument(arguments.get(0, "sub"), "find: sub", ""));
  const std::string& text = self.as_text();
  const std::size_t found = from_right ? text.rfind(wanted) : text.find(wanted);
  if (found == std::string::npos) return Value(std::int64_t{-1});
  return Value(static_cast<std::int64_t>(n_characters(std::string_view(text).substr(0, found))));
}

Result<Value> count_method(const Value& self, const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.check("count", {"sub"}));
  ASSIGN_OR_RETURN(const std::string wanted, text_argument(arguments.get(0, "sub"), "count: sub", ""));
  if (wanted.empty()) return Value(static_cast<std::int64_t>(n_characters(self.as_text()) + 1));
  const auto parts = split_at(self.as_text(), wanted, std::numeric_limits<std::size_t>::max());
  return Value(static_cast<std::int64_t>(parts.size() - 1));
}

Result<Value> join_method(const Value& self, const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.check("join", {"iterable"}));
  const Value* iterable = arguments.get(0, "iterable");
  ASSIGN_OR_RETURN(const List items, iterate(iterable != nullptr ? *iterable : Value()));
  std::string out;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!items[i].is_text())
      return template_error(fmt::format("join: item {} is a {}", i, items[i].type_name()));
    if (i > 0) out += self.as_text();
    out += items[i].as_text();
    if (out.size() > kMaxTextBytes) break;
  }
  return text_value(std::move(out));
}

Result<Value> splitlines_method(const Value& self, const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.check("splitlines", {}));
  return text_list(split_lines(self.as_text()));
}

Result<Value> isdigit_method(const Value& self, const Arguments& arguments) {
  const std::string& text = self.as_text();
  return Value(!text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; }));
}

Result<Value> isspace_method(const Value& self, const Arguments& arguments) {
  return Value(is_space(self.as_text()));
}

constexpr std::array kTextMethods = {NamedMethod{"strip", strip_method<StripSide::kBoth>},
                                     NamedMethod{"lstrip", strip_method<StripSide::kLeft>},
                                     NamedMethod{"rstrip", strip_method<StripSide::kRight>},
                                     NamedMethod{"split", split_method<false>},
                                     NamedMethod{"rsplit", split_method<true>},
                                     NamedMethod{"splitlines", splitlines_method},
                                     NamedMethod{"startswith", affix_method<true>},
                                     NamedMethod{"endswith", affix_method<false>},
                                     NamedMethod{"upper", map_method<upper>},
                                     NamedMethod{"lower", map_method<lower>},
                                     NamedMethod{"capitalize", map_method<capitalize>},
                                     NamedMethod{"title", map_method<title>},
                                     NamedMethod{"replace", replace_method},
                                     NamedMethod{"removeprefix", remove_affix_method<true>},
                                     NamedMethod{"removesuffix", remove_affix_method<false>},
                                     NamedMethod{"find", find_method_of_text<false>},
                                     NamedMethod{"rfind", find_method_of_text<true>},
                                     NamedMethod{"count", count_method},
                                     NamedMethod{"join", join_method},
                                     NamedMethod{"isdigit", isdigit_method},
                                     NamedMethod{"isspace", isspace_method}};

Result<Value> keys_method(const Value& self, const Arguments& arguments) {
  ASSIGN_OR_RETURN(List keys, iterate(self));
  return Value::list(std::move(keys));
}

Result<Value> values_method(const Value& self, const Arguments& arguments) {
  List values;
  for (const auto& [key, value] : self.as_dict().entries()) values.push_back(value);
  return Value::list(std::move(values));
}

Result<Value> items_method(const Value& self, const Arguments& arguments) {
  return apply_filter("items", self, {});
}

Result<Value> get_method(const Value& self, const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.check("get", {"key", "default"}));
  const Value* key = arguments.get(0, "key");
  const Value* fallback = arguments.get(1, "default");
  const Value* found = key != nullptr && key->is_text() ? self.as_dict().find(key->as_text()) : nullptr;
  if (found != nullptr) return *found;
  return fallback != nullptr ? *fallback : Value(None{});
}

Result<Value> copy_method(const Value& self, const Arguments& arguments) { return self; }

constexpr std::array kDictMethods = {NamedMethod{"items", items_method}, NamedMethod{"keys", keys_method},
                                     NamedMethod{"values", values_method}, NamedMethod{"get", get_method},
                                     NamedMethod{"copy", copy_method}};

Result<Value> list_index_method(const Value& self, const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.check("index", {"value"}));
  const Value* wanted = arguments.get(0, "value");
  const List& list = self.as_list();
  const auto found = std::ranges::find_if(
      list, [&](const Value& item) { return wanted != nullptr && equal(item, *wanted); });
  if (found == list.end()) return template_error("index: the list does not have the value");
  return Value(static_cast<std::int64_t>(found - list.begin()));
}

Result<Value> list_count_method(const Value& self, const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.check("count", {"value"}));
  const Value* wanted = arguments.get(0, "value");
  return Value(static_cast<std::int64_t>(std::ranges::count_if(
      self.as_list(), [&](const Value& item) { return wanted != nullptr && equal(item, *wanted); })));
}

constexpr std::array kListMethods = {NamedMethod{"index", list_index_method},
                                     NamedMethod{"count", list_count_method},
                                     NamedMethod{"copy", copy_method}};

// A text's method may walk through its arguments ("join"), a list's compares with them.
Function::Cost cost_of_method(const Value& self, std::string_view name) {
  if (!self.is_dict()) return Function::Cost::kArguments;
  return name == "get" || name == "copy" ? Function::Cost::kConstant : Function::Cost::kItems;
}

std::size_t n_items_of(const Value& self) {
  if (self.is_dict()) return self.as_dict().entries().size();
  return self.weight();
}

template <typename Methods>
Value bind(const Methods& methods, const Value& self, std::string_view name) {
  for (const NamedMethod& method : methods) {
    if (method.name != name) continue;
    const auto call = [self, method](const Arguments& arguments) { return method.method(self, arguments); };
    return Value(Function{std::string(name), call, cost_of_method(self, name), n_items_of(self)});
  }
  return Value(Undefined{std::string(name)});
}

}  // namespace

Value find_method(const Value& object, std::string_view name) {
  if (object.is_text()) return bind(kTextMethods, object, name);
  if (object.is_dict()) return bind(kDictMethods, object, name);
  if (object.is_list()) return bind(kListMethods, object, name);
  return Value(Undefined{std::string(name)});
}

}  // namespace concertina::jinja
