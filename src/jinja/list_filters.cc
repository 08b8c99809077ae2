#include "jinja/list_filters.h"

#include <algorithm>
#include <array>
#include <optional>

#include "jinja/arguments.h"
#include "jinja/builtins.h"
#include "jinja/operators.h"
#include "jinja/text.h"

namespace concertina::jinja {

namespace {

// Jinja's attribute paths: "function.name", "0.role".
Result<Value> attribute_path(Value value, std::string_view path) {
  for (const std::string_view part : split_at(path, ".", std::numeric_limits<std::size_t>::max())) {
    const bool number = !part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos;
    if (number && part.size() < 10) {
      ASSIGN_OR_RETURN(value,
                       subscript(value, Value(static_cast<std::int64_t>(std::stol(std::string(part))))));
    } else {
      ASSIGN_OR_RETURN(value, subscript(value, Value(std::string(part))));
    }
  }
  return value;
}

// What a filter looks at: the item itself, or the attribute that the argument names.
Result<Value> key_of(const Value& item, const Value* path) {
  if (path == nullptr || path->is_none()) return item;
  if (path->is_integral()) return subscript(item, *path);
  ASSIGN_OR_RETURN(const std::string text, text_argument(path, "attribute", ""));
  return attribute_path(item, text);
}

Value folded(const Value& value, bool case_sensitive) {
  return value.is_text() && !case_sensitive ? Value(lower(value.as_text())) : value;
}

Result<Value> join_filter(const Value& subject, const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.check("join", {"d", "attribute"}));
  ASSIGN_OR_RETURN(const List items, iterate(subject));
  ASSIGN_OR_RETURN(const std::string separator, text_argument(arguments.get(0, "d"), "join: d", ""));
  std::string out;
  for (std::size_t i = 0; i < items.size() && out.size() <= kMaxTextBytes; ++i) {
    ASSIGN_OR_RETURN(const Value item, key_of(items[i], arguments.get(1, "attribute")));
    if (i > 0) out += separator;
    out += item.to_text();
  }
  return text_value(std::move(out));
}

Result<Value> items_filter(const Value& subject, const Arguments&) {
  if (subject.is_undefined()) return Value::list({});
  if (!subject.is_dict()) return template_error(fmt::format("items: a {} has none", subject.type_name()));
  List pairs;
  for (const auto& [key, value] : subject.as_dict().entries()) {
    ASSIGN_OR_RETURN(Value pair, Value::list({Value(key), value}, SequenceKind::kTuple));
    pairs.push_back(std::move(pair));
  }
  return Value::list(std::move(pairs));
}

Result<Value> list_filter(const Value& subject, const Arguments&) {
  ASSIGN_OR_RETURN(List items, iterate(subject));
  return Value::list(std::move(items));
}

// The first or last item, without a copy of all of them.
Result<Value> end_of(const Value& subject, std::int64_t index, const char* missing) {
  if (subject.is_list() || subject.is_text()) {
    ASSIGN_OR_RETURN(Value item, subscript(subject, Value(index)));
    return item.is_undefined() ? Value(Undefined{missing}) : item;
  }
  ASSIGN_OR_RETURN(const List items, iterate(subject));
  if (items.empty()) return Value(Undefined{missing});
  return index == 0 ? items.front() : items.back();
}

Result<Value> first_filter(const Value& subject, const Arguments&) {
  return end_of(subject, 0, "the first item of nothing");
}

Result<Value> last_filter(const Value& subject, const Arguments&) {
  return end_of(subject, -1, "the last item of nothing");
}

Result<Value> reverse_filter(const Value& subject, const Arguments&) {
  const Value backwards(std::int64_t{-1});
  if (subject.is_text()) return slice(subject, nullptr, nullptr, &backwards);
  ASSIGN_OR_RETURN(List items, iterate(subject));
  std::reverse(items.begin(), items.end());
  return Value::list(std::move(items));
}

struct Keyed {
  Value key, item;
};

// Stable. The keys must be comparable with each other: the first pair that is not gives the error.
Result<List> sort_by_key(std::vector<Keyed> keyed, bool reverse) {
  std::optional<Error> error;
  const auto less = [&](const Keyed& a, const Keyed& b) {
    const auto order = compare(a.key, b.key);
    if (!order && !error) error = order.error();
    return order.has_value() && (reverse ? *order > 0 : *order < 0);
  };
  std::stable_sort(keyed.begin(), keyed.end(), less);
  if (error) return fail(*error);
  List items;
  for (Keyed& entry : keyed) items.push_back(std::move(entry.item));
  return items;
}

Result<Value> sort_filter(const Value& subject, const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.check("sort", {"reverse", "case_sensitive", "attribute"}));
  ASSIGN_OR_RETURN(const List items, iterate(subject));
  const bool case_sensitive = truth_argument(arguments.get(1, "case_sensitive"), false);
  std::vector<Keyed> keyed;
  for (const Value& item : items) {
    ASSIGN_OR_RETURN(const Value key, key_of(item, arguments.get(2, "attribute")));
    keyed.push_back({folded(key, case_sensitive), item});
  }
  ASSIGN_OR_RETURN(List sorted,
                   sort_by_key(std::move(keyed), truth_argument(arguments.get(0, "reverse"), false)));
  return Value::list(std::move(sorted));
}

Result<Value> dictsort_filter(const Value& subject, const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.check("dictsort", {"case_sensitive", "by", "reverse"}));
  ASSIGN_OR_RETURN(const Value pairs, items_filter(subject, {}));
  ASSIGN_OR_RETURN(const std::string by, text_argument(arguments.get(1, "by"), "dictsort: by", "key"));
  const bool case_sensitive = truth_argument(arguments.get(0, "case_sensitive"), false);
  std::vector<Keyed> keyed;
  for (const Value& pair : pairs.as_list()) {
    keyed.push_back({folded(pair.as_list()[by == "value" ? 1 : 0], case_sensitive), pair});
  }
  ASSIGN_OR_RETURN(List sorted,
                   sort_by_key(std::move(keyed), truth_argument(arguments.get(2, "reverse"), false)));
  return Value::list(std::move(sorted));
}

template <bool greatest>
Result<Value> extreme_filter(const Value& subject, const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.check(greatest ? "max" : "min", {"case_sensitive", "attribute"}));
  Arguments sort_arguments;
  sort_arguments.keyword = arguments.keyword;
  sort_arguments.keyword.emplace_back("reverse", Value(greatest));
  ASSIGN_OR_RETURN(const Value sorted, sort_filter(subject, sort_arguments));
  return first_filter(sorted, {});
}

Result<Value> unique_filter(const Value& subject, const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.check("unique", {"case_sensitive", "attribute"}));
  ASSIGN_OR_RETURN(const List items, iterate(subject));
  const bool case_sensitive = truth_argument(arguments.get(0, "case_sensitive"), false);
  List keys, kept;
  for (const Value& item : items) {
    ASSIGN_OR_RETURN(Value key, key_of(item, arguments.get(1, "attribute")));
    key = folded(key, case_sensitive);
    if (std::ranges::any_of(keys, [&](const Value& seen) { return equal(seen, key); })) continue;
    keys.push_back(std::move(key));
    kept.push_back(item);
  }
  return Value::list(std::move(kept));
}

Result<Value> sum_filter(const Value& subject, const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.check("sum", {"attribute", "start"}));
  ASSIGN_OR_RETURN(const List items, iterate(subject));
  const Value* start = arguments.get(1, "start");
  Value total = start != nullptr ? *start : Value(std::int64_t{0});
  for (const Value& item : items) {
    ASSIGN_OR_RETURN(const Value number, key_of(item, arguments.get(0, "attribute")));
    ASSIGN_OR_RETURN(total, apply_binary(BinaryOperator::kAdd, total, number));
  }
  return total;
}

// The arguments after the first `n`, for the filter or test that those name.
Arguments rest_of(const Arguments& arguments, std::size_t n) {
  Arguments rest = arguments;
  rest.positional.erase(rest.positional.begin(),
                        rest.positional.begin() + std::min(n, rest.positional.size()));
  return rest;
}

Result<Value> map_filter(const Value& subject, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const List items, iterate(subject));
  const Value* path = arguments.positional.empty() ? arguments.get(0, "attribute") : nullptr;
  const Value* fallback = arguments.positional.empty() ? arguments.get(1, "default") : nullptr;
  if (path == nullptr && arguments.positional.empty())
    return template_error("map needs a filter's name or an attribute");
  List mapped;
  for (const Value& item : items) {
    if (path != nullptr) {
      ASSIGN_OR_RETURN(Value value, key_of(item, path));
      mapped.push_back(value.is_undefined() && fallback != nullptr ? *fallback : std::move(value));
    } else {
      ASSIGN_OR_RETURN(const std::string name,
                       text_argument(&arguments.positional[0], "map: the filter's name", ""));
      ASSIGN_OR_RETURN(Value value, apply_filter(name, item, rest_of(arguments, 1)));
      mapped.push_back(std::move(value));
    }
  }
  return Value::list(std::move(mapped));
}

// select, reject, selectattr and rejectattr: [attribute,] [test, its arguments]; without a test: the truth.
template <bool by_attribute, bool keep>
Result<Value> select_filter(const Value& subject, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const List items, iterate(subject));
  constexpr std::size_t kTestIndex = by_attribute ? 1 : 0;
  if (arguments.positional.size() < kTestIndex) return template_error("selectattr needs an attribute");
  const Value* test = arguments.positional.size() > kTestIndex ? &arguments.positional[kTestIndex] : nullptr;
  ASSIGN_OR_RETURN(const std::string name, text_argument(test, "the test's name", ""));
  List kept;
  for (const Value& item : items) {
    ASSIGN_OR_RETURN(const Value key, key_of(item, by_attribute ? &arguments.positional[0] : nullptr));
    Result<bool> holds = key.truth();
    if (test != nullptr) holds = apply_test(name, key, rest_of(arguments, kTestIndex + 1));
    if (!holds) return fail(holds.error());
    if (*holds == keep) kept.push_back(item);
  }
  return Value::list(std::move(kept));
}

constexpr std::array kFilters = {
    NamedFilter{"join", join_filter},
    NamedFilter{"items", items_filter, FilterCost::kItems},
    NamedFilter{"list", list_filter, FilterCost::kItems},
    NamedFilter{"first", first_filter, FilterCost::kConstant},
    NamedFilter{"last", last_filter, FilterCost::kConstant},
    NamedFilter{"reverse", reverse_filter, FilterCost::kItems},
    NamedFilter{"sort", sort_filter},
    NamedFilter{"dictsort", dictsort_filter},
    NamedFilter{"min", extreme_filter<false>},
    NamedFilter{"max", extreme_filter<true>},
    NamedFilter{"unique", unique_filter, FilterCost::kSquare},
    NamedFilter{"sum", sum_filter},
    NamedFilter{"map", map_filter},
    NamedFilter{"select", select_filter<false, true>, FilterCost::kItems},
    NamedFilter{"reject", select_filter<false, false>, FilterCost::kItems},
    NamedFilter{"selectattr", select_filter<true, true>, FilterCost::kItems},
    NamedFilter{"rejectattr", select_filter<true, false>, FilterCost::kItems},
};

}  // namespace

const NamedFilter* find_list_filter(std::string_view name) {
  const auto found = std::ranges::find(kFilters, name, &NamedFilter::name);
  return found == kFilters.end() ? nullptr : &*found;
}

}  // namespace concertina::jinja
