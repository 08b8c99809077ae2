#include "server/json_body.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <utility>

namespace concertina::server {

namespace {

constexpr std::size_t kSmallObject = 16;  // members; up to so many are looked up one after the other
constexpr std::size_t kShort = 100;       // bytes

// Positions by key; of the same key, by position.
std::vector<std::uint32_t> sorted_by_key(const JsonMembers& members) {
  std::vector<std::uint32_t> order(members.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return members[a].first < members[b].first; });
  return order;
}

// For each member the first one with its key.
std::vector<std::uint32_t> first_places(const JsonMembers& members) {
  std::vector<std::uint32_t> first(members.size());
  std::iota(first.begin(), first.end(), 0);
  if (members.size() > kSmallObject) {
    const std::vector<std::uint32_t> order = sorted_by_key(members);
    for (std::size_t i = 1; i < order.size(); ++i) {
      if (members[order[i]].first == members[order[i - 1]].first) first[order[i]] = first[order[i - 1]];
    }
    return first;
  }
  for (std::size_t i = 1; i < members.size(); ++i) {
    for (std::size_t j = 0; j < i && first[i] == i; ++j) {
      if (members[j].first == members[i].first) first[i] = static_cast<std::uint32_t>(j);
    }
  }
  return first;
}

void keep_last_values(JsonMembers& members) {
  const std::vector<std::uint32_t> first = first_places(members);
  bool has_duplicates = false;
  for (std::size_t i = 0; i < first.size(); ++i) {
    if (first[i] == i) continue;
    has_duplicates = true;
    members[first[i]].second = std::move(members[i].second);
  }
  if (!has_duplicates) return;
  JsonMembers kept;
  for (std::size_t i = 0; i < first.size(); ++i) {
    if (first[i] == i) kept.emplace_back(members[i].first, std::move(members[i].second));
  }
  members.swap(kept);
}

// Builds the document. The library's own way looks through an object's keys at each new one: 300,000 keys
// would take minutes.
class Builder {
 public:
  explicit Builder(std::size_t max_depth) : max_depth_(max_depth) {}

  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(std::int64_t value) { return add(value); }
  bool number_unsigned(std::uint64_t value) { return add(value); }
  bool number_float(double value, const std::string& text) {
    if (text.find_first_of(".eE") != std::string::npos) return add(value);
    return add(Json::binary({text.begin(), text.end()}));
  }
  bool string(std::string& value) { return add(std::move(value)); }
  bool binary(Json::binary_t&) { return false; }  // not in JSON texts
  bool key(std::string& value) {
    key_ = std::move(value);
    return count();
  }
  bool start_object(std::size_t) { return open(Json::object()); }
  bool start_array(std::size_t) { return open(Json::array()); }
  bool end_object() {
    keep_last_values(open_.back()->get_ref<Json::object_t&>());
    return end_array();
  }
  bool end_array() {
    open_.pop_back();
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const Json::exception& error) {
    const std::string what = error.what();  // less the library's "[json.exception.parse_error.101] "
    const std::size_t end = what.find("] ");
    error_ =
        "is not JSON: " + (what.starts_with('[') && end != std::string::npos ? what.substr(end + 2) : what);
    if (error_.size() > 2 * kShort) error_ = error_.substr(0, 2 * kShort) + "...";
    return false;
  }

  Json& root() { return root_; }
  const std::string& error() const { return error_; }

 private:
  Json* place(Json&& value) {
    if (open_.empty()) return &(root_ = std::move(value));
    if (open_.back()->is_array()) {
      auto& items = open_.back()->get_ref<Json::array_t&>();
      return &items.emplace_back(std::move(value));
    }
    JsonMembers& members = open_.back()->get_ref<Json::object_t&>();
    return &members.emplace_back(std::move(key_), std::move(value)).second;
  }
  bool add(Json value) {
    place(std::move(value));
    return true;
  }
  bool open(Json value) {
    if (open_.size() == max_depth_) {
      error_ = fmt::format("is nested more than {} levels deep", max_depth_);
      return false;
    }
    if (!count()) return false;
    open_.push_back(place(std::move(value)));  // stays where it is: its parent gets no other while it is open
    return true;
  }

  bool count() {
    if (++n_items_ <= kMaxJsonItems) return true;
    error_ = fmt::format("has more than {} members, objects and lists", kMaxJsonItems);
    return false;
  }

  const std::size_t max_depth_;
  std::size_t n_items_ = 0;
  Json root_;
  std::vector<Json*> open_;
  std::string key_, error_;
};

std::string_view digits_of(const Json& value) {
  const auto& bytes = value.get_binary();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Stops soon after kShort bytes.
void append_in_short(const Json& value, std::string& out) {
  if (out.size() > kShort) return;
  const char* separator = "";
  if (value.is_object()) {
    out += '{';
    for (const auto& [key, item] : value.get_ref<const Json::object_t&>()) {
      out += std::exchange(separator, ",");
      append_in_short(shortened(key), out);
      append_in_short(item, out += ':');
      if (out.size() > kShort) return;
    }
    out += '}';
  } else if (value.is_array()) {
    out += '[';
    for (const Json& item : value) {
      append_in_short(item, out += std::exchange(separator, ","));
      if (out.size() > kShort) return;
    }
    out += ']';
  } else if (is_wide_integer(value)) {
    out += digits_of(value).substr(0, kShort + 1);
  } else {
    const auto replace = Json::error_handler_t::replace;
    out += value.is_string()
               ? Json(value.get_ref<const std::string&>().substr(0, kShort)).dump(-1, ' ', false, replace)
               : value.dump();
  }
}

}  // namespace

tl::expected<Json, std::string> parse_json(std::string_view text, std::size_t max_depth) {
  Builder builder(max_depth);
  if (Json::sax_parse(text.begin(), text.end(), &builder)) return std::move(builder.root());
  return tl::unexpected<std::string>(builder.error());
}

bool is_wide_integer(const Json& value) { return value.is_binary(); }
bool is_number(const Json& value) { return value.is_number() || is_wide_integer(value); }

std::optional<std::int64_t> whole_number(const Json& value) {
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX) return std::nullopt;
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (!value.is_number_float()) return std::nullopt;
  const auto number = value.get<double>();
  constexpr double kBeyond = 9223372036854775808.0;  // 2^63
  if (!(number >= -kBeyond) || !(number < kBeyond) || number != std::trunc(number)) return std::nullopt;
  return static_cast<std::int64_t>(number);
}

std::optional<double> real_number(const Json& value) {
  if (is_wide_integer(value)) return std::strtod(std::string(digits_of(value)).c_str(), nullptr);
  return value.is_number() ? std::optional(value.get<double>()) : std::nullopt;
}

std::string in_short(const Json& value) {
  std::string out;
  append_in_short(value, out);
  return shortened(out);
}

std::string shortened(const std::string& text) {
  return text.size() <= kShort ? text : text.substr(0, kShort) + "...";
}

MemberIndex::MemberIndex(const JsonMembers& members) : members_(members) {
  if (members.size() > kSmallObject) by_key_ = sorted_by_key(members);
}

const Json* MemberIndex::find(std::string_view key) const {
  if (by_key_.empty()) {
    const auto found = std::find_if(members_.begin(), members_.end(),
                                    [&](const auto& member) { return member.first == key; });
    return found == members_.end() ? nullptr : &found->second;
  }
  const auto found =
      std::lower_bound(by_key_.begin(), by_key_.end(), key,
                       [&](std::uint32_t at, std::string_view k) { return members_[at].first < k; });
  return found == by_key_.end() || members_[*found].first != key ? nullptr : &members_[*found].second;
}

}  // namespace concertina::server
