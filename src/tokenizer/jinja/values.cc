#include "tokenizer/jinja/values.h"

#include <fmt/format.h>

#include <cmath>

#include "tokenizer/utf8.h"

namespace concertina::tokenizer::jinja {

Value Arguments::get(std::size_t place, const char* name, Value absent) const {
  if (place < positional.size()) return positional[place];
  const auto found = named.find(name);
  return found == named.end() ? std::move(absent) : found->second;
}

bool is_true(const Value& value) {
  switch (value.type()) {
    case Value::value_t::boolean:
      return value.get<bool>();
    case Value::value_t::number_integer:
    case Value::value_t::number_unsigned:
    case Value::value_t::number_float:
      return value.get<double>() != 0;
    case Value::value_t::string:
      return !value.get_ref<const std::string&>().empty();
    case Value::value_t::array:
    case Value::value_t::object:
      return !value.empty();
    default:
      return false;
  }
}

namespace {

std::string number_text(const Value& value) {
  if (!value.is_number_float()) return value.dump();
  const double number = value.get<double>();
  return number == std::floor(number) && std::abs(number) < 1e16 ? fmt::format("{:.1f}", number)
                                                                 : fmt::format("{}", number);
}

std::string repr(const Value& value) {
  if (!value.is_string()) return to_text(value);
  const auto& text = value.get_ref<const std::string&>();
  const char quote = text.find('\'') != std::string::npos && text.find('"') == std::string::npos ? '"' : '\'';
  std::string out(1, quote);
  for (const char c : text) {
    if (c == quote || c == '\\') out.push_back('\\');
    if (c == '\n')
      out += "\\n";
    else
      out.push_back(c);
  }
  return out + quote;
}

std::string quoted(const std::string& text) {
  return nlohmann::json(to_valid_utf8(text)).dump(-1, ' ', false);
}

void append_json(std::string& out, const Value& value, int indent, int depth) {
  const auto line = [&](int d) {
    if (indent >= 0) out += "\n" + std::string(static_cast<std::size_t>(indent * d), ' ');
  };
  if (value.is_string()) {
    out += quoted(value.get_ref<const std::string&>());
  } else if (value.is_array() || value.is_object()) {
    out += value.is_array() ? "[" : "{";
    bool first = true;
    for (const auto& [key, item] : value.items()) {
      if (!first) out += indent >= 0 ? "," : ", ";
      first = false;
      line(depth + 1);
      if (value.is_object()) out += quoted(key) + ": ";
      append_json(out, item, indent, depth + 1);
    }
    if (!first) line(depth);
    out += value.is_array() ? "]" : "}";
  } else if (value.is_number()) {
    out += number_text(value);
  } else if (value.is_boolean()) {
    out += value.get<bool>() ? "true" : "false";
  } else {
    out += "null";
  }
}

std::vector<std::string> characters(const std::string& text) {
  std::vector<std::string> out;
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t n = first_code_point(rest).n_bytes;
    out.emplace_back(rest.substr(0, n));
    rest.remove_prefix(n);
  }
  return out;
}

const char* type_name(const Value& value) { return is_undefined(value) ? "undefined" : value.type_name(); }

}  // namespace

std::string to_text(const Value& value) {
  if (is_undefined(value)) return "";
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "True" : "False";
  if (value.is_null()) return "None";
  if (value.is_number()) return number_text(value);
  std::string out = value.is_array() ? "[" : "{";
  bool first = true;
  for (const auto& [key, item] : value.items()) {
    if (!first) out += ", ";
    first = false;
    if (value.is_object()) out += repr(Value(key)) + ": ";
    out += repr(item);
  }
  return out + (value.is_array() ? "]" : "}");
}

std::string to_json_text(const Value& value, int indent) {
  std::string out;
  append_json(out, value, indent, 0);
  return out;
}

bool equal(const Value& a, const Value& b) {
  if (is_undefined(a) || is_undefined(b)) return is_undefined(a) && is_undefined(b);
  const auto number = [](const Value& v) { return v.is_number() || v.is_boolean(); };
  if (number(a) && number(b)) {
    const auto as = [](const Value& v) {
      return v.is_boolean() ? static_cast<double>(v.get<bool>()) : v.get<double>();
    };
    return as(a) == as(b);
  }
  return a == b;
}

bool less(const Value& a, const Value& b) {
  const bool comparable =
      (a.is_number() && b.is_number()) || (a.is_string() && b.is_string()) || (a.is_array() && b.is_array());
  if (!comparable) throw std::string("cannot compare ") + type_name(a) + " with " + type_name(b);
  return a < b;
}

bool contains(const Value& container, const Value& item) {
  if (container.is_string() && item.is_string())
    return container.get<std::string>().find(item.get<std::string>()) != std::string::npos;
  if (container.is_object()) return item.is_string() && container.contains(item.get<std::string>());
  if (container.is_array()) {
    for (const Value& one : container) {
      if (equal(one, item)) return true;
    }
    return false;
  }
  if (is_undefined(container)) return false;
  throw std::string("\"in\" needs a list, a mapping or a string, found ") + type_name(container);
}

Value items_of(const Value& value) {
  if (value.is_array()) return value;
  Value out = Value::array();
  if (value.is_object()) {
    for (const auto& [key, item] : value.items()) out.push_back(key);
  } else if (value.is_string()) {
    for (const std::string& c : characters(value.get<std::string>())) out.push_back(c);
  } else if (!is_undefined(value)) {
    throw std::string("cannot walk over ") + type_name(value);
  }
  return out;
}

Value apply_binary(const std::string& op, const Value& a, const Value& b) {
  if (op == "~") return to_text(a) + to_text(b);
  if (op == "+" && a.is_string() && b.is_string()) return a.get<std::string>() + b.get<std::string>();
  if (op == "+" && a.is_array() && b.is_array()) {
    Value joined = a;
    for (const Value& item : b) joined.push_back(item);
    return joined;
  }
  if (op == "*" && a.is_string() && b.is_number_integer()) {
    if (b.get<std::int64_t>() > 100000) throw std::string("a string repeated too often");
    std::string out;
    for (std::int64_t i = 0; i < b.get<std::int64_t>(); ++i) out += a.get<std::string>();
    return out;
  }
  if (!a.is_number() || !b.is_number()) {
    throw "\"" + op + "\" does not work on " + type_name(a) + " and " + type_name(b);
  }
  const double x = a.get<double>(), y = b.get<double>();
  if (y == 0 && (op == "/" || op == "//" || op == "%")) throw std::string("division by zero");
  if (op == "/") return x / y;
  double result = 0;
  if (op == "+") result = x + y;
  if (op == "-") result = x - y;
  if (op == "*") result = x * y;
  if (op == "**") result = std::pow(x, y);
  if (op == "//") result = std::floor(x / y);
  if (op == "%") result = x - y * std::floor(x / y);
  const bool whole = a.is_number_integer() && b.is_number_integer() && std::abs(result) < 9e15;
  return whole ? Value(static_cast<std::int64_t>(result)) : Value(result);
}

Value get_index(const Value& object, const Value& index) {
  if (object.is_object()) {
    if (!index.is_string() || !object.contains(index.get<std::string>())) return undefined();
    return object.at(index.get<std::string>());
  }
  if ((object.is_array() || object.is_string()) && index.is_number_integer()) {
    const Value list = items_of(object);
    const auto n = static_cast<std::int64_t>(list.size());
    std::int64_t i = index.get<std::int64_t>();
    if (i < 0) i += n;
    return i >= 0 && i < n ? list[static_cast<std::size_t>(i)] : undefined();
  }
  if (is_undefined(object)) throw std::string("cannot look inside something undefined");
  return undefined();
}

Value get_slice(const Value& object, const Value& begin, const Value& end, const Value& step) {
  const auto number = [](const Value& v, std::int64_t absent) {
    return v.is_number_integer() ? v.get<std::int64_t>() : absent;
  };
  const Value list = items_of(object);
  const auto n = static_cast<std::int64_t>(list.size());
  const std::int64_t by = number(step, 1);
  if (by == 0) throw std::string("a slice's step must not be 0");
  const auto place = [&](const Value& v, std::int64_t absent) {
    std::int64_t i = number(v, absent);
    if (v.is_number_integer() && i < 0) i += n;
    return by > 0 ? std::clamp<std::int64_t>(i, 0, n) : std::clamp<std::int64_t>(i, -1, n - 1);
  };
  Value out = Value::array();
  const std::int64_t first = place(begin, by > 0 ? 0 : n - 1), last = place(end, by > 0 ? n : -1);
  for (std::int64_t i = first; by > 0 ? i < last : i > last; i += by)
    out.push_back(list[static_cast<std::size_t>(i)]);
  if (!object.is_string()) return out;
  std::string text;
  for (const Value& c : out) text += c.get<std::string>();
  return text;
}

}  // namespace concertina::tokenizer::jinja
