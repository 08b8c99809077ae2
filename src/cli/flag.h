#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace CLI {
class App;
}

namespace concertina::cli {

// A flag is one row: its name, what it takes, which values, what it sets and what for. --help, what is said
// of a wrong value and README's table follow from the row. The default is what the variable held when the row
// was made. Rows refer to their variables and live no longer.
struct Flag {
  std::string name;   // "--max-num-seqs"
  std::string takes;  // "N", "SIZE", "auto|dummy"; empty: a switch
  std::string help;
  std::string default_value;  // "64", "on", "the model's"; empty: none
  std::string range;          // "1 to 4096"; empty: every value that `takes` says
  // What is wrong with a value; empty: nothing, and it is set.
  std::function<std::string(const std::string&)> set;
  // What is wrong once all are set, beside others; empty: nothing. May be null.
  std::function<std::string()> check = nullptr;
  enum class Repeated : std::uint8_t { kLastCounts, kAllCount } repeated = Repeated::kLastCounts;
  enum class Shown : std::uint8_t { kYes, kNo } shown = Shown::kYes;

  Flag or_else(std::string words) && {
    default_value = std::move(words);
    return std::move(*this);
  }
  Flag hidden() && {
    shown = Shown::kNo;
    return std::move(*this);
  }
};
using Flags = std::vector<Flag>;

void add_flags(CLI::App& command, const Flags& flags);
// Values within their ranges, beside each other; kBadFlag names the flag, what it is and what it must be.
Status check_flags(const Flags& flags);

// An end of a range: a number, or what another flag says.
struct Bound {
  Bound(std::size_t value) : number(value) {}
  Bound(const char* name, const std::size_t& value) : flag(name), other(&value) {}
  std::size_t value() const { return other != nullptr ? *other : number; }
  std::string words() const;

  std::size_t number = 0;
  const char* flag = nullptr;
  const std::size_t* other = nullptr;
};
struct Range {
  Bound lowest, highest;
  // "1 to 4096", "2 or more"; empty: every number is within.
  std::string words() const;
  // Empty: it is within.
  std::string wrong(const std::string& flag, std::size_t value) const;
};

// So many that it is no limit to speak of, and still no overflow.
constexpr std::size_t kMany = 1 << 30;
inline const Range kAnyNumber{0, std::numeric_limits<std::size_t>::max()};

std::string not_whole(const std::string& text, std::size_t most);

// A whole number. Digits that fit: the library's own reading wraps and saturates.
template <typename Number>
Flag count(const char* name, Number& value, Range range, const char* help) {
  const auto set = [&value](const std::string& text) {
    Number read = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), read);
    if (error != std::errc{} || end != text.data() + text.size())
      return not_whole(text, std::numeric_limits<Number>::max());
    value = read;
    return std::string();
  };
  return {name,
          "N",
          help,
          std::to_string(value),
          range.words(),
          set,
          [=, &value] { return range.wrong(name, value); }};
}

// One that has no default: `range` holds for it only where it is given.
Flag count(const char* name, std::optional<std::size_t>& value, Range range, const char* help);
// "256MiB", "4GiB", or bytes.
enum class Zero : std::uint8_t { kIsWrong, kIsRight };
Flag size(const char* name, std::uint64_t& bytes, const char* help, Zero zero = Zero::kIsWrong);
Flag size(const char* name, std::optional<std::uint64_t>& bytes, const char* help);
Flag seconds(const char* name, Duration& value, const char* help);
// Above 0, 1 at most.
Flag share(const char* name, double& value, const char* help);
Flag text(const char* name, const char* takes, std::string& value, const char* help);
// Each time that it is given, and each part of a,b, counts.
Flag texts(const char* name, const char* takes, std::vector<std::string>& values, const char* help);

template <typename Value>
Flag choice(const char* name, Value& value, std::vector<std::pair<const char*, Value>> words,
            const char* help) {
  std::string takes, now;
  for (const auto& [word, meaning] : words) {
    takes += (takes.empty() ? "" : "|") + std::string(word);
    if (meaning == value) now = word;
  }
  const auto set = [&value, words, takes](const std::string& text) {
    for (const auto& [word, meaning] : words) {
      if (text != word) continue;
      value = meaning;
      return std::string();
    }
    return "\"" + text + "\" is not one of " + takes;
  };
  return {name, takes, help, now, "", set};
}
Flag choice(const char* name, std::string& value, std::initializer_list<const char*> words, const char* help);

// --name and, where it is on already, --no-name.
template <typename Value>
Flag toggle(const char* name, Value& value, Value off, Value on, const char* help) {
  const auto set = [&value, off, on](const std::string& text) {
    value = text == "true" ? on : off;
    return std::string();
  };
  return {name, "", help, value == on ? "on" : "", "", set};
}

}  // namespace concertina::cli
