#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "jinja/arguments.h"
#include "jinja/builtins.h"
#include "jinja/json_value.h"
#include "jinja/list_filters.h"
#include "jinja/text.h"

namespace concertina::jinja {

Result<Value> replaced(std::string_view text, std::string_view from, std::string_view to,
                       std::size_t max_count) {
  const std::size_t n = from.empty()               ? text.size() + 1
                        : to.size() <= from.size() ? 0
                                                   : split_at(text, from, max_count).size();
  if (to.size() > 0 && n > kMaxTextBytes / to.size())
    return template_error("replace: the text becomes too long");
  return text_value(replace(text, from, to, max_count));
}

namespace {

Result<Value> trim_filter(const Value& subject, const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.check("trim", {"chars"}));
  const std::string text = subject.to_text();
  const Value* chars = arguments.get(0, "chars");
  if (chars == nullptr || chars->is_none()) return Value(std::string(strip(text, StripSide::kBoth)));
  ASSIGN_OR_RETURN(const std::string set, text_argument(chars, "trim: chars", ""));
  return Value(std::string(strip(text, StripSide::kBoth, set)));
}

Result<Value> tojson_filter(const Value& subject, const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.check("tojson", {"ensure_ascii", "indent", "separators", "sort_keys"}));
  JsonStyle style;
  const Value* indent = arguments.get(1, "indent");
  if (indent != nullptr && !indent->is_none()) {
    ASSIGN_OR_RETURN(const std::int64_t width, integer_argument(indent, "tojson: indent", 0));
    style.indent = static_cast<int>(std::clamp<std::int64_t>(width, 0, 64));
  }
  if (truth_argument(arguments.get(0, "ensure_ascii"), false)) style.ascii = JsonStyle::Ascii::kEscape;
  if (truth_argument(arguments.get(3, "sort_keys"), false)) style.keys = JsonStyle::Keys::kSorted;
  const Value* separators = arguments.get(2, "separators");
  if (separators != nullptr && !separators->is_none()) {
    ASSIGN_OR_RETURN(const List pair, iterate(*separators));
    if (pair.size() != 2 || !pair[0].is_text() || !pair[1].is_text()) {
      return template_error("tojson: separators must be two strings");
    }
    style.item_separator = pair[0].as_text();
    style.key_separator = pair[1].as_text();
  }
  ASSIGN_OR_RETURN(std::string text, to_json(subject, style));
  return text_value(std::move(text));
}

Result<Value> length_filter(const Value& subject, const Arguments&) {
  if (subject.is_text()) return Value(static_cast<std::int64_t>(n_characters(subject.as_text())));
  if (subject.is_list()) return Value(static_cast<std::int64_t>(subject.as_list().size()));
  if (subject.is_dict()) return Value(static_cast<std::int64_t>(subject.as_dict().entries().size()));
  if (subject.is_undefined()) return Value(std::int64_t{0});
  return template_error(fmt::format("length: a {} has none", subject.type_name()));
}

template <std::string (*map)(std::string_view)>
Result<Value> map_text_filter(const Value& subject, const Arguments&) {
  return Value(map(subject.to_text()));
}

Result<Value> default_filter(const Value& subject, const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.check("default", {"default_value", "boolean"}));
  const bool also_false = truth_argument(arguments.get(1, "boolean"), false);
  if (!subject.is_undefined() && !(also_false && !subject.truth())) return subject;
  const Value* fallback = arguments.get(0, "default_value");
  return fallback != nullptr ? *fallback : Value(std::string());
}

Result<Value> string_filter(const Value& subject, const Arguments&) { return Value(subject.to_text()); }

Result<Value> replace_filter(const Value& subject, const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.check("replace", {"old", "new", "count"}));
  if (arguments.get(1, "new") == nullptr) return template_error("replace needs two strings");
  ASSIGN_OR_RETURN(const std::string from, text_argument(arguments.get(0, "old"), "replace: old", ""));
  ASSIGN_OR_RETURN(const std::string to, text_argument(arguments.get(1, "new"), "replace: new", ""));
  const Value* given = arguments.get(2, "count");
  ASSIGN_OR_RETURN(const std::size_t count,
                   count_argument(given == nullptr || given->is_none() ? nullptr : given, "replace: count"));
  return replaced(subject.to_text(), from, to, count);
}

Result<Value> int_filter(const Value& subject, const Arguments& arguments) {
  const Value* given = arguments.get(0, "default");
  const Value fallback = given != nullptr ? *given : Value(std::int64_t{0});
  if (subject.is_integral()) return Value(subject.as_integer());
  double number = 0;
  if (subject.is_text()) {
    const std::string text(strip(subject.as_text(), StripSide::kBoth));
    std::int64_t integer = 0;
    const char* end = text.data() + text.size();
    if (const auto parsed = std::from_chars(text.data(), end, integer);
        parsed.ec == std::errc() && parsed.ptr == end) {
      return Value(integer);
    }
    const auto parsed = std::from_chars(text.data(), end, number);
    if (parsed.ec != std::errc() || parsed.ptr != end) return fallback;
  } else if (subject.is_float()) {
    number = subject.as_double();
  } else {
    return fallback;
  }
  if (!(std::fabs(number) < 9.2e18)) return fallback;
  return Value(static_cast<std::int64_t>(number));
}

Result<Value> float_filter(const Value& subject, const Arguments& arguments) {
  const Value* given = arguments.get(0, "default");
  if (subject.is_number()) return Value(subject.as_double());
  const std::string text(strip(subject.to_text(), StripSide::kBoth));
  double number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (subject.is_text() && parsed.ec == std::errc() && parsed.ptr == text.data() + text.size())
    return Value(number);
  return given != nullptr ? *given : Value(0.0);
}

Result<Value> abs_filter(const Value& subject, const Arguments&) {
  if (subject.is_float()) return Value(std::fabs(subject.as_double()));
  if (!subject.is_integral())
    return template_error(fmt::format("abs: a {} is no number", subject.type_name()));
  if (subject.as_integer() == INT64_MIN) return template_error("the integer does not fit in 64 bits");
  return Value(std::abs(subject.as_integer()));
}

Result<Value> round_filter(const Value& subject, const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.check("round", {"precision", "method"}));
  ASSIGN_OR_RETURN(const std::int64_t precision,
                   integer_argument(arguments.get(0, "precision"), "round: precision", 0));
  ASSIGN_OR_RETURN(const std::string method,
                   text_argument(arguments.get(1, "method"), "round: method", "common"));
  if (!subject.is_number())
    return template_error(fmt::format("round: a {} is no number", subject.type_name()));
  const double scale = std::pow(10.0, static_cast<double>(precision)), scaled = subject.as_double() * scale;
  if (method == "ceil") return Value(std::ceil(scaled) / scale);
  if (method == "floor") return Value(std::floor(scaled) / scale);
  return Value(std::nearbyint(scaled) / scale);  // halves to even, as Python's round
}

Result<Value> indent_filter(const Value& subject, const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.check("indent", {"width", "first", "blank"}));
  const Value* width = arguments.get(0, "width");
  std::string prefix = width != nullptr && width->is_text() ? width->as_text() : "";
  if (prefix.empty() && !(width != nullptr && width->is_text())) {
    ASSIGN_OR_RETURN(const std::int64_t n, integer_argument(width, "indent: width", 4));
    prefix.assign(static_cast<std::size_t>(std::clamp<std::int64_t>(n, 0, 1024)), ' ');
  }
  const bool first = truth_argument(arguments.get(1, "first"), false);
  const bool blank = truth_argument(arguments.get(2, "blank"), false);
  const std::string text = subject.to_text();
  std::string out;
  std::size_t n_lines = 0;
  for (const std::string_view line : split_at(text, "\n", std::numeric_limits<std::size_t>::max())) {
    if (n_lines > 0) out += '\n';
    if ((n_lines > 0 || first) && (blank || (!line.empty()) || (n_lines == 0 && first))) out += prefix;
    out += line;
    ++n_lines;
    if (out.size() > kMaxTextBytes) break;
  }
  return text_value(std::move(out));
}

Result<Value> escape_filter(const Value& subject, const Arguments&) {
  std::string out;
  for (const char c : subject.to_text()) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '"':
        out += "&#34;";
        break;
      default:
        out += c;
    }
  }
  return text_value(std::move(out));
}

Result<Value> safe_filter(const Value& subject, const Arguments&) { return subject; }

constexpr std::array kFilters = {
    NamedFilter{"trim", trim_filter},
    NamedFilter{"tojson", tojson_filter},
    NamedFilter{"length", length_filter, FilterCost::kConstant},
    NamedFilter{"count", length_filter, FilterCost::kConstant},
    NamedFilter{"upper", map_text_filter<upper>},
    NamedFilter{"lower", map_text_filter<lower>},
    NamedFilter{"capitalize", map_text_filter<capitalize>},
    NamedFilter{"title", map_text_filter<title>},
    NamedFilter{"default", default_filter, FilterCost::kConstant},
    NamedFilter{"d", default_filter, FilterCost::kConstant},
    NamedFilter{"string", string_filter},
    NamedFilter{"replace", replace_filter},
    NamedFilter{"int", int_filter},
    NamedFilter{"float", float_filter},
    NamedFilter{"abs", abs_filter},
    NamedFilter{"round", round_filter},
    NamedFilter{"indent", indent_filter},
    NamedFilter{"escape", escape_filter},
    NamedFilter{"e", escape_filter},
    NamedFilter{"safe", safe_filter, FilterCost::kConstant},
};

const NamedFilter* find_filter(std::string_view name) {
  const auto found = std::ranges::find(kFilters, name, &NamedFilter::name);
  return found != kFilters.end() ? &*found : find_list_filter(name);
}

}  // namespace

FilterCost cost_of_filter(std::string_view name) {
  const NamedFilter* filter = find_filter(name);
  return filter != nullptr ? filter->cost : FilterCost::kWhole;
}

Result<Value> apply_filter(std::string_view name, const Value& subject, const Arguments& arguments) {
  const NamedFilter* filter = find_filter(name);
  if (filter == nullptr) return template_error(fmt::format("no filter is called \"{}\"", name));
  return filter->apply(subject, arguments);
}

}  // namespace concertina::jinja
