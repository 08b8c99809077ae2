#include "jinja/arguments.h"
#include "jinja/builtins.h"
#include "jinja/error.h"

namespace concertina::jinja {

namespace {

Result<Value> range_function(const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.check("range", {"start", "stop", "step"}));
  if (arguments.positional.empty()) return template_error("range needs an integer");
  std::int64_t bounds[3] = {0, 0, 1};
  for (std::size_t i = 0; i < arguments.positional.size(); ++i) {
    ASSIGN_OR_RETURN(bounds[i], integer_argument(&arguments.positional[i], "range: a bound", 0));
  }
  if (arguments.positional.size() == 1) std::swap(bounds[0], bounds[1]);
  const auto [start, stop, step] = bounds;
  if (step == 0) return template_error("range: the step cannot be 0");
  List list;
  std::int64_t at = start;
  while (step > 0 ? at < stop : at > stop) {
    if (list.size() == Value::kMaxItems)
      return template_error(fmt::format("range of more than {} items", Value::kMaxItems));
    list.emplace_back(at);
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  return Value::list(std::move(list));
}

// dict(a=1) and namespace(a=1), also over a dictionary.
Result<Dict> collect(std::string_view function, const Arguments& arguments) {
  Dict dict;
  for (const Value& base : arguments.positional) {
    if (!base.is_dict())
      return template_error(fmt::format("{}: expected a dictionary, found a {}", function, base.type_name()));
    const bool is_first = dict.entries().empty();  // its keys differ: a client's object may have 300,000
    for (const auto& [key, value] : base.as_dict().entries())
      is_first ? dict.append_new(key, value) : dict.set(key, value);
  }
  for (const auto& [key, value] : arguments.keyword) dict.set(key, value);
  return dict;
}

Result<Value> namespace_function(const Arguments& arguments) {
  ASSIGN_OR_RETURN(Dict entries, collect("namespace", arguments));
  return Value::make_namespace(std::move(entries));
}

Result<Value> dict_function(const Arguments& arguments) {
  ASSIGN_OR_RETURN(Dict entries, collect("dict", arguments));
  return Value::dict(std::move(entries));
}

Result<Value> raise_function(const Arguments& arguments) {
  const Value* message = arguments.get(0, "message");
  return fail(JinjaError::kRaised, message != nullptr ? message->to_text() : "");
}

Result<Value> strftime_function(const std::tm& now, const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.check("strftime_now", {"format"}));
  ASSIGN_OR_RETURN(const std::string format,
                   text_argument(arguments.get(0, "format"), "strftime_now: format", ""));
  char buffer[1024];
  const std::size_t n = std::strftime(buffer, sizeof(buffer), format.c_str(), &now);
  if (n == 0 && !format.empty())
    return template_error("strftime_now: the format makes no text of 1 to 1023 bytes");
  return Value(std::string(buffer, n));
}

}  // namespace

Dict make_globals(const std::tm& now) {
  Dict globals;
  const auto add = [&](const char* name, std::function<Result<Value>(const Arguments&)> call) {
    globals.append_new(name, Value(Function{name, std::move(call)}));
  };
  add("range", range_function);
  add("namespace", namespace_function);
  add("dict", dict_function);
  add("raise_exception", raise_function);
  add("strftime_now", [now](const Arguments& arguments) { return strftime_function(now, arguments); });
  return globals;
}

}  // namespace concertina::jinja
