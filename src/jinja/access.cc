#include <fmt/format.h>

#include <algorithm>

#include "base/utf8.h"
#include "jinja/builtins.h"
#include "jinja/text.h"

namespace concertina::jinja {

namespace {

tl::unexpected<Error> undefined_error(const Value& object) {
  return template_error(fmt::format("'{}' is undefined", object.as_undefined().name));
}

// The characters of a text by index; where each is a byte, without a table of them.
class Characters {
 public:
  explicit Characters(std::string_view text) : text_(text), ascii_(is_ascii(text)) {
    if (!ascii_) table_ = characters(text);
  }
  std::size_t size() const { return ascii_ ? text_.size() : table_.size(); }
  std::string_view operator[](std::size_t i) const { return ascii_ ? text_.substr(i, 1) : table_[i]; }

 private:
  std::string_view text_;
  bool ascii_;
  std::vector<std::string_view> table_;
};

Result<Value> item_at(const Value& object, std::int64_t index) {
  const auto missing = Value(Undefined{fmt::format("item {}", index)});
  const auto in_range = [&](std::size_t n) {
    const auto size = static_cast<std::int64_t>(n);
    if (index < 0) index += size;
    return index >= 0 && index < size;
  };
  if (object.is_list()) return in_range(object.as_list().size()) ? object.as_list()[index] : missing;
  const Characters all(object.as_text());
  return in_range(all.size()) ? Value(std::string(all[index])) : missing;
}

// Where Python's slice begins, ends and how it steps, over `n` items.
struct SliceBounds {
  std::int64_t start, stop, step;
};

Result<SliceBounds> slice_bounds(std::int64_t n, const Value* start, const Value* stop, const Value* step) {
  for (const Value* bound : {start, stop, step}) {
    if (bound != nullptr && !bound->is_integral()) {
      return template_error(fmt::format("a slice needs integers, found a {}", bound->type_name()));
    }
  }
  SliceBounds bounds{0, 0, step != nullptr ? step->as_integer() : 1};
  if (bounds.step == 0) return template_error("a slice's step cannot be 0");
  bounds.step = std::clamp<std::int64_t>(bounds.step, -n - 1, n + 1);  // the same items, and no overflow
  const std::int64_t low = bounds.step > 0 ? 0 : -1, high = bounds.step > 0 ? n : n - 1;
  const auto place = [&](const Value* bound, std::int64_t fallback) {
    if (bound == nullptr) return fallback;
    const std::int64_t at = bound->as_integer();
    if (at < 0) return at < -n ? low : std::max(at + n, low);
    return std::min(at, high);
  };
  bounds.start = place(start, bounds.step > 0 ? low : high);
  bounds.stop = place(stop, bounds.step > 0 ? high : low);
  return bounds;
}

template <typename Visit>
void for_each_in(const SliceBounds& bounds, Visit visit) {
  for (std::int64_t i = bounds.start; bounds.step > 0 ? i < bounds.stop : i > bounds.stop; i += bounds.step)
    visit(i);
}

}  // namespace

Result<Value> attribute(const Value& object, std::string_view name) {
  if (object.is_undefined()) return undefined_error(object);
  if (Value method = find_method(object, name); !method.is_undefined()) return method;
  const Value* found = nullptr;
  if (object.is_dict()) found = object.as_dict().find(name);
  if (object.is_namespace()) found = object.as_namespace().find(name);
  return found != nullptr ? *found : Value(Undefined{std::string(name)});
}

Result<Value> subscript(const Value& object, const Value& index) {
  if (object.is_undefined()) return undefined_error(object);
  if ((object.is_list() || object.is_text()) && index.is_integral())
    return item_at(object, index.as_integer());
  if (!index.is_text()) return Value(Undefined{index.to_text()});
  const Value* found = object.is_dict() ? object.as_dict().find(index.as_text()) : nullptr;
  return found != nullptr ? Result<Value>(*found) : attribute(object, index.as_text());
}

Result<Value> slice(const Value& object, const Value* start, const Value* stop, const Value* step) {
  if (object.is_undefined()) return undefined_error(object);
  if (object.is_list()) {
    const List& list = object.as_list();
    ASSIGN_OR_RETURN(const auto bounds,
                     slice_bounds(static_cast<std::int64_t>(list.size()), start, stop, step));
    List part;
    for_each_in(bounds, [&](std::int64_t i) { part.push_back(list[i]); });
    return Value::list(std::move(part), object.sequence_kind());
  }
  if (!object.is_text()) return template_error(fmt::format("a {} cannot be sliced", object.type_name()));
  const Characters all(object.as_text());
  ASSIGN_OR_RETURN(const auto bounds, slice_bounds(static_cast<std::int64_t>(all.size()), start, stop, step));
  std::string part;
  for_each_in(bounds, [&](std::int64_t i) { part += all[i]; });
  return Value(std::move(part));
}

}  // namespace concertina::jinja
