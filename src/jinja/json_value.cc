#include "jinja/json_value.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "jinja/error.h"

namespace concertina::jinja {

namespace {

Result<Value> from_json_at(const nlohmann::ordered_json& json, int depth);

Value wide_integer(std::string digits) {
  return Value(WideInteger{std::make_shared<const std::string>(std::move(digits))});
}

Result<Value> from_object(const nlohmann::ordered_json& json, int depth) {
  Dict dict;
  dict.reserve(json.size());
  for (const auto& [key, item] : json.get_ref<const nlohmann::ordered_json::object_t&>()) {
    ASSIGN_OR_RETURN(Value value, from_json_at(item, depth + 1));
    dict.append_new(key, std::move(value));
  }
  return Value::dict(std::move(dict));
}

Result<Value> from_array(const nlohmann::ordered_json& json, int depth) {
  List list;
  list.reserve(json.size());
  for (const auto& item : json) {
    ASSIGN_OR_RETURN(Value value, from_json_at(item, depth + 1));
    list.push_back(std::move(value));
  }
  return Value::list(std::move(list));
}

Result<Value> from_json_at(const nlohmann::ordered_json& json, int depth) {
  if (depth > Value::kMaxDepth)
    return template_error(fmt::format("JSON nested more than {} deep", Value::kMaxDepth));
  switch (json.type()) {
    case nlohmann::ordered_json::value_t::object:
      return from_object(json, depth);
    case nlohmann::ordered_json::value_t::array:
      return from_array(json, depth);
    case nlohmann::ordered_json::value_t::string:
      return text_value(json.get_ref<const std::string&>());
    case nlohmann::ordered_json::value_t::boolean:
      return Value(json.get<bool>());
    case nlohmann::ordered_json::value_t::number_integer:
      return Value(json.get<std::int64_t>());
    case nlohmann::ordered_json::value_t::number_unsigned: {
      const auto number = json.get<std::uint64_t>();
      return number <= INT64_MAX ? Value(static_cast<std::int64_t>(number))
                                 : wide_integer(std::to_string(number));
    }
    case nlohmann::ordered_json::value_t::number_float:
      return Value(json.get<double>());
    case nlohmann::ordered_json::value_t::binary:
      return wide_integer({json.get_binary().begin(), json.get_binary().end()});
    default:
      return Value(None{});
  }
}

// Writes one document.
class JsonWriter {
 public:
  explicit JsonWriter(const JsonStyle& style) : style_(style) {}

  Status write(const Value& value, int level) {
    if (out_.size() > kMaxTextBytes) return fail(JinjaError::kTooLong, "tojson: the text is too long");
    if (value.is_none()) return put("null");
    if (value.is_bool()) return put(value.as_bool() ? "true" : "false");
    if (value.is_float()) return put(number(value.as_double()));
    if (value.is_integer() || value.is_wide_integer()) return put(value.to_text());
    if (value.is_text()) return put_text(value.as_text());
    if (value.is_list()) return write_list(value.as_list(), level);
    if (value.is_dict()) return write_dict(value.as_dict(), level);
    return template_error(fmt::format("tojson: a {} has no JSON", value.type_name()));
  }
  std::string take() { return std::move(out_); }

 private:
  Status put(std::string_view text) {
    out_ += text;
    return {};
  }

  static std::string number(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
    return float_text(value);
  }

  void break_line(int level) {
    if (style_.indent >= 0) out_.append("\n").append(static_cast<std::size_t>(style_.indent) * level, ' ');
  }

  void separate(bool first, int level) {
    if (!first) out_ += style_.indent < 0 || style_.item_separator != ", " ? style_.item_separator : ",";
    break_line(level);
  }

  Status write_list(const List& list, int level) {
    if (list.empty()) return put("[]");
    out_ += '[';
    for (std::size_t i = 0; i < list.size(); ++i) {
      separate(i == 0, level + 1);
      RETURN_IF_ERROR(write(list[i], level + 1));
    }
    break_line(level);
    return put("]");
  }

  Status write_dict(const Dict& dict, int level) {
    if (dict.entries().empty()) return put("{}");
    auto entries = dict.entries();
    if (style_.keys == JsonStyle::Keys::kSorted)
      std::ranges::sort(entries, {}, [](auto& entry) { return entry.first; });
    out_ += '{';
    for (std::size_t i = 0; i < entries.size(); ++i) {
      separate(i == 0, level + 1);
      RETURN_IF_ERROR(put_text(entries[i].first));
      out_ += style_.key_separator;
      RETURN_IF_ERROR(write(entries[i].second, level + 1));
    }
    break_line(level);
    return put("}");
  }

  void put_escape(char32_t code_unit) {
    out_ += fmt::format("\\u{:04x}", static_cast<std::uint32_t>(code_unit));
  }

  void put_character(std::string_view character, char32_t code_point) {
    const bool escape_all = style_.ascii == JsonStyle::Ascii::kEscape;
    switch (code_point) {
      case '"':
        out_ += "\\\"";
        return;
      case '\\':
        out_ += "\\\\";
        return;
      case '\n':
        out_ += "\\n";
        return;
      case '\r':
        out_ += "\\r";
        return;
      case '\t':
        out_ += "\\t";
        return;
      case '\b':
        out_ += "\\b";
        return;
      case '\f':
        out_ += "\\f";
        return;
      default:
        break;
    }
    if (code_point >= 0x20 && (code_point < 0x7F || !escape_all)) {
      out_ += character;
    } else if (code_point < 0x10000) {
      put_escape(code_point);
    } else {
      put_escape(0xD800 + ((code_point - 0x10000) >> 10));
      put_escape(0xDC00 + ((code_point - 0x10000) & 0x3FF));
    }
  }

  Status put_text(std::string_view text) {
    out_ += '"';
    while (!text.empty()) {
      const Utf8Unit unit = next_utf8(text);
      put_character(text.substr(0, unit.length), unit.kind == Utf8Kind::kValid ? unit.code_point : U'\uFFFD');
      text.remove_prefix(unit.length);
    }
    out_ += '"';
    return {};
  }

  const JsonStyle& style_;
  std::string out_;
};

}  // namespace

Result<Value> from_json(const nlohmann::ordered_json& json) { return from_json_at(json, 0); }

Result<std::string> to_json(const Value& value, const JsonStyle& style) {
  JsonWriter writer(style);
  RETURN_IF_ERROR(writer.write(value, 0));
  return writer.take();
}

}  // namespace concertina::jinja
