#include <algorithm>
#include <cctype>
#include <cmath>

#include "tokenizer/jinja/values.h"

namespace concertina::tokenizer::jinja {

namespace {

constexpr const char* kBlanks = " \t\n\r\f\v";

std::string strip(const std::string& text, const std::string& what, bool left, bool right) {
  std::size_t begin = left ? text.find_first_not_of(what) : 0;
  if (begin == std::string::npos) return "";
  const std::size_t end = right ? text.find_last_not_of(what) + 1 : text.size();
  return end > begin ? text.substr(begin, end - begin) : "";
}

// Upper and lower case of ASCII; other letters stay as they are.
template <typename F>
std::string mapped(std::string text, const F& f) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [&](unsigned char c) { return static_cast<char>(f(c)); });
  return text;
}
std::string upper(std::string text) {
  return mapped(std::move(text), [](int c) { return std::toupper(c); });
}
std::string lower(std::string text) {
  return mapped(std::move(text), [](int c) { return std::tolower(c); });
}
std::string capitalize(std::string text) {
  text = lower(std::move(text));
  if (!text.empty()) text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text;
}
std::string title(std::string text) {
  bool start = true;
  for (char& c : text) {
    const auto byte = static_cast<unsigned char>(c);
    c = static_cast<char>(start ? std::toupper(byte) : std::tolower(byte));
    start = !std::isalpha(byte);
  }
  return text;
}

std::string replace_all(const std::string& text, const std::string& from, const std::string& to,
                        std::int64_t n_most) {
  if (from.empty()) return text;
  std::string out;
  std::size_t at = 0;
  for (; n_most != 0; --n_most) {
    const std::size_t found = text.find(from, at);
    if (found == std::string::npos) break;
    out += text.substr(at, found - at) + to;
    at = found + from.size();
  }
  return out + text.substr(at);
}

Value split(const std::string& text, const Value& separator, std::int64_t n_most) {
  Value out = Value::array();
  if (!separator.is_string()) {  // on blanks, without empty parts
    std::size_t at = text.find_first_not_of(kBlanks);
    while (at != std::string::npos) {
      const std::size_t end = n_most-- == 0 ? std::string::npos : text.find_first_of(kBlanks, at);
      out.push_back(text.substr(at, end == std::string::npos ? end : end - at));
      at = end == std::string::npos ? end : text.find_first_not_of(kBlanks, end);
    }
    return out;
  }
  const auto& mark = separator.get_ref<const std::string&>();
  if (mark.empty()) throw std::string("split() by an empty string");
  std::size_t at = 0;
  for (std::size_t found; n_most != 0 && (found = text.find(mark, at)) != std::string::npos; --n_most) {
    out.push_back(text.substr(at, found - at));
    at = found + mark.size();
  }
  out.push_back(text.substr(at));
  return out;
}

std::string join(const Value& list, const std::string& between, const Value& attribute) {
  std::string out;
  bool first = true;
  for (const Value& item : items_of(list)) {
    if (!first) out += between;
    first = false;
    out += to_text(attribute.is_string() ? get_index(item, attribute) : item);
  }
  return out;
}

Value sorted(const Value& input, const Value& attribute, bool reverse) {
  Value list = items_of(input);
  std::stable_sort(list.begin(), list.end(), [&](const Value& a, const Value& b) {
    const Value x = attribute.is_string() ? get_index(a, attribute) : a,
                y = attribute.is_string() ? get_index(b, attribute) : b;
    return reverse ? less(y, x) : less(x, y);
  });
  return list;
}

Value pairs(const Value& object) {
  Value out = Value::array();
  if (!object.is_object()) throw std::string("items need a mapping, found ") + object.type_name();
  for (const auto& [key, value] : object.items()) out.push_back(Value::array({key, value}));
  return out;
}

// select, reject, selectattr, rejectattr
Value select(const Value& input, const Arguments& arguments, bool by_attribute, bool keep) {
  Value out = Value::array();
  for (const Value& item : items_of(input)) {
    const std::size_t test_at = by_attribute ? 1 : 0;
    const Value tested = by_attribute ? get_index(item, arguments.positional.at(0)) : item;
    Arguments rest;
    for (std::size_t i = test_at + 1; i < arguments.positional.size(); ++i)
      rest.positional.push_back(arguments.positional[i]);
    const bool passes = test_at < arguments.positional.size()
                            ? apply_test(to_text(arguments.positional[test_at]), tested, rest)
                            : is_true(tested);
    if (passes == keep) out.push_back(item);
  }
  return out;
}

Value to_int(const Value& input, const Value& absent) {
  if (input.is_number()) return static_cast<std::int64_t>(input.get<double>());
  if (input.is_boolean()) return static_cast<std::int64_t>(input.get<bool>());
  try {
    return static_cast<std::int64_t>(std::stoll(to_text(input)));
  } catch (const std::exception&) {
    return absent;
  }
}

std::string indented(const std::string& text, std::size_t width, bool first_too) {
  std::string out = first_too ? std::string(width, ' ') : "";
  for (std::size_t i = 0; i < text.size(); ++i) {
    out.push_back(text[i]);
    if (text[i] == '\n' && i + 1 < text.size() && text[i + 1] != '\n') out += std::string(width, ' ');
  }
  return out;
}

Value text_filter(const std::string& name, const Value& input, const Arguments& a, bool& known) {
  const std::string text = to_text(input);
  if (name == "trim") return strip(text, to_text(a.get(0, "chars", kBlanks)), true, true);
  if (name == "upper") return upper(text);
  if (name == "lower") return lower(text);
  if (name == "capitalize") return capitalize(text);
  if (name == "title") return title(text);
  if (name == "string" || name == "safe") return text;
  if (name == "replace") {
    return replace_all(text, to_text(a.get(0, "old", "")), to_text(a.get(1, "new", "")),
                       to_int(a.get(2, "count", -1), -1).get<std::int64_t>());
  }
  if (name == "indent") {
    return indented(text,
                    static_cast<std::size_t>(std::clamp<std::int64_t>(
                        to_int(a.get(0, "width", 4), 4).get<std::int64_t>(), 0, 1000)),
                    is_true(a.get(1, "first", false)));
  }
  if (name == "escape" || name == "e") {
    std::string out = text;
    for (const auto& [from, to] :
         {std::pair{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"'", "&#39;"}, {"\"", "&#34;"}}) {
      out = replace_all(out, from, to, -1);
    }
    return out;
  }
  known = false;
  return undefined();
}

}  // namespace

Value apply_filter(const std::string& name, const Value& input, const Arguments& a) {
  if (name == "default" || name == "d") {
    const bool absent = is_undefined(input) || (is_true(a.get(1, "boolean", false)) && !is_true(input));
    return absent ? a.get(0, "default_value", "") : input;
  }
  if (name == "tojson") {
    const Value indent = a.get(0, "indent", nullptr);
    return to_json_text(input, indent.is_number_integer() ? indent.get<int>() : -1);
  }
  if (name == "length" || name == "count") return input.is_object() ? input.size() : items_of(input).size();
  if (name == "join") return join(input, to_text(a.get(0, "d", "")), a.get(1, "attribute", nullptr));
  if (name == "list") return items_of(input);
  if (name == "items") return is_undefined(input) ? Value::array() : pairs(input);
  if (name == "dictsort") return sorted(pairs(input), nullptr, false);
  if (name == "first" || name == "last") return get_index(items_of(input), name == "first" ? 0 : -1);
  if (name == "reverse") return get_slice(input, nullptr, nullptr, -1);
  if (name == "sort")
    return sorted(input, a.get(2, "attribute", nullptr), is_true(a.get(0, "reverse", false)));
  if (name == "int") return to_int(input, a.get(0, "default", 0));
  if (name == "float")
    return input.is_number() ? Value(input.get<double>())
                             : Value(std::strtod(to_text(input).c_str(), nullptr));
  if (name == "abs" && input.is_number_integer()) return std::abs(input.get<std::int64_t>());
  if (name == "abs" && input.is_number()) return std::abs(input.get<double>());
  if (name == "round" && input.is_number()) {
    const double scale = std::pow(10.0, to_int(a.get(0, "precision", 0), 0).get<double>());
    return std::round(input.get<double>() * scale) / scale;
  }
  if (name == "unique") {
    Value out = Value::array();
    for (const Value& item : items_of(input)) {
      if (!contains(out, item)) out.push_back(item);
    }
    return out;
  }
  if (name == "map") {
    Value out = Value::array();
    const Value attribute = a.get(99, "attribute", nullptr);
    for (const Value& item : items_of(input)) {
      out.push_back(attribute.is_string() ? get_index(item, attribute)
                                          : apply_filter(to_text(a.get(0, "filter", "string")), item, {}));
    }
    return out;
  }
  if (name == "select" || name == "reject") return select(input, a, false, name == "select");
  if (name == "selectattr" || name == "rejectattr") return select(input, a, true, name == "selectattr");
  bool known = true;
  Value out = text_filter(name, input, a, known);
  if (!known)
    throw "unknown filter \"" + name + "\" (of " +
        std::string(is_undefined(input) ? "undefined" : input.type_name()) + ")";
  return out;
}

bool apply_test(const std::string& name, const Value& v, const Arguments& a) {
  const Value other = a.get(0, "other", undefined());
  if (name == "defined") return !is_undefined(v);
  if (name == "undefined") return is_undefined(v);
  if (name == "none") return v.is_null();
  if (name == "string") return v.is_string();
  if (name == "mapping") return v.is_object();
  if (name == "iterable" || name == "sequence") return v.is_array() || v.is_object() || v.is_string();
  if (name == "number") return v.is_number();
  if (name == "integer") return v.is_number_integer();
  if (name == "float") return v.is_number_float();
  if (name == "boolean") return v.is_boolean();
  if (name == "true") return v.is_boolean() && v.get<bool>();
  if (name == "false") return v.is_boolean() && !v.get<bool>();
  if (name == "eq" || name == "equalto" || name == "==") return equal(v, other);
  if (name == "ne" || name == "!=") return !equal(v, other);
  if (name == "in") return contains(other, v);
  if (name == "lt" || name == "<") return less(v, other);
  if (name == "gt" || name == ">") return less(other, v);
  if (name == "odd" || name == "even" || name == "divisibleby") {
    const auto divisor = name == "divisibleby" && other.is_number_integer() ? other.get<std::int64_t>() : 2;
    if (!v.is_number_integer() || divisor == 0) throw "\"" + name + "\" needs integers";
    return (v.get<std::int64_t>() % divisor == 0) != (name == "odd");
  }
  throw "unknown test \"" + name + "\"";
}

bool has_method(const Value& object, const std::string& name) {
  const auto is_one_of = [&](std::initializer_list<const char*> names) {
    return std::any_of(names.begin(), names.end(), [&](const char* one) { return name == one; });
  };
  if (object.is_string()) {
    return is_one_of({"strip", "lstrip", "rstrip", "split", "startswith", "endswith", "replace", "upper",
                      "lower", "title", "capitalize", "join", "find", "count"});
  }
  return object.is_object() && is_one_of({"get", "items", "keys", "values"});
}

Value call_method(const Value& object, const std::string& name, const Arguments& a) {
  if (object.is_object()) {
    if (name == "get") {
      const Value found = get_index(object, a.get(0, "key", ""));
      return is_undefined(found) ? a.get(1, "default", nullptr) : found;
    }
    if (name == "items") return pairs(object);
    if (name == "keys") return items_of(object);
    Value values = Value::array();
    for (const auto& [key, value] : object.items()) values.push_back(value);
    return values;
  }
  const auto& text = object.get_ref<const std::string&>();
  const auto count = [&](std::size_t place, const char* key) {
    return to_int(a.get(place, key, -1), -1).get<std::int64_t>();
  };
  if (name == "strip" || name == "lstrip" || name == "rstrip") {
    const Value chars = a.get(0, "chars", nullptr);
    return strip(text, chars.is_string() ? chars.get<std::string>() : kBlanks, name != "rstrip",
                 name != "lstrip");
  }
  if (name == "split") return split(text, a.get(0, "sep", nullptr), count(1, "maxsplit"));
  if (name == "startswith" || name == "endswith") {
    const Value marks = a.get(0, "prefix", "");
    for (const Value& mark : marks.is_array() ? marks : Value::array({marks})) {
      const std::string part = to_text(mark);
      if (name == "startswith" ? text.starts_with(part) : text.ends_with(part)) return true;
    }
    return false;
  }
  if (name == "replace")
    return replace_all(text, to_text(a.get(0, "old", "")), to_text(a.get(1, "new", "")), count(2, "count"));
  if (name == "upper") return upper(text);
  if (name == "lower") return lower(text);
  if (name == "title") return title(text);
  if (name == "capitalize") return capitalize(text);
  if (name == "join") return join(a.get(0, "iterable", Value::array()), text, nullptr);
  const std::string part = to_text(a.get(0, "sub", ""));
  if (name == "find") {
    const std::size_t found = text.find(part);
    return found == std::string::npos ? Value(-1) : Value(static_cast<std::int64_t>(found));
  }
  std::int64_t n = 0;  // count
  for (std::size_t at = 0; !part.empty() && (at = text.find(part, at)) != std::string::npos;
       at += part.size())
    ++n;
  return n;
}

}  // namespace concertina::tokenizer::jinja
