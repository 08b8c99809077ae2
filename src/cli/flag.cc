#include "cli/flag.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cmath>
#include <cstdlib>

#include "cli/error.h"
#include "cli/sizes.h"

namespace concertina::cli {

namespace {

// An empty value is most often a variable that is not set, and must not mean something else.
CLI::Validator setter(const Flag& flag) {
  return CLI::Validator(
      [set = flag.set](std::string& text) {
        return text.empty() ? std::string("it is empty: leave the flag out") : set(text);
      },
      "");
}

// "sequences in one step of a rank (1 to 4096; default: 64)"
std::string help_of(const Flag& flag) {
  std::vector<std::string> facts;
  if (!flag.range.empty()) facts.push_back(flag.range);
  if (!flag.default_value.empty()) facts.push_back("default: " + flag.default_value);
  return facts.empty() ? flag.help : fmt::format("{} ({})", flag.help, fmt::join(facts, "; "));
}

CLI::Option* add_option(CLI::App& command, const Flag& flag, const std::string& help) {
  if (flag.takes.empty()) {
    const std::string names =
        flag.default_value == "on" ? fmt::format("{},!--no-{}", flag.name, flag.name.substr(2)) : flag.name;
    return command.add_flag(names, help);
  }
  CLI::Option* option = command.add_option(
      flag.name, [](const CLI::results_t&) { return true; }, help);
  option->type_name(flag.takes);
  if (flag.repeated == Flag::Repeated::kAllCount) option->delimiter(',');
  return option;
}

}  // namespace

void add_flags(CLI::App& command, const Flags& flags) {
  for (const Flag& flag : flags) {
    CLI::Option* option = add_option(command, flag, help_of(flag));
    option->check(setter(flag));
    option->multi_option_policy(flag.repeated == Flag::Repeated::kAllCount
                                    ? CLI::MultiOptionPolicy::TakeAll
                                    : CLI::MultiOptionPolicy::TakeLast);
    if (flag.shown == Flag::Shown::kNo) option->group("");
  }
}

Status check_flags(const Flags& flags) {
  for (const Flag& flag : flags) {
    const std::string wrong = flag.check ? flag.check() : "";
    if (!wrong.empty()) return fail(CliError::kBadFlag, wrong);
  }
  return {};
}

std::string Bound::words() const { return flag != nullptr ? flag : std::to_string(number); }

std::string Range::words() const {
  if (highest.flag != nullptr || highest.number < kMany)
    return fmt::format("{} to {}", lowest.words(), highest.words());
  return lowest.flag == nullptr && lowest.number == 0 ? "" : lowest.words() + " or more";
}

std::string Range::wrong(const std::string& flag, std::size_t value) const {
  if (value >= lowest.value() && value <= highest.value()) return "";
  return fmt::format("{} is {}, but must be in {}..{}", flag, value, lowest.value(), highest.value());
}

std::string not_whole(const std::string& text, std::size_t most) {
  return fmt::format("\"{}\" is not a whole number up to {}", text, most);
}

namespace {

// Reads as the flag of a plain variable would, and asks nothing of a value that was not given.
template <typename Value, typename MakeFlag>
Flag optional_flag(std::optional<Value>& value, const MakeFlag& make) {
  Value unused{};
  Flag flag = make(unused);
  flag.default_value.clear();
  flag.set = [&value, make](const std::string& text) {
    Value read{};
    std::string wrong = make(read).set(text);
    if (wrong.empty()) value = read;
    return wrong;
  };
  if (flag.check) {
    flag.check = [&value, make] {
      Value now = value.value_or(Value{});
      return value ? make(now).check() : std::string();
    };
  }
  return flag;
}

}  // namespace

Flag count(const char* name, std::optional<std::size_t>& value, Range range, const char* help) {
  return optional_flag(value, [=](std::size_t& number) { return count(name, number, range, help); });
}

Flag size(const char* name, std::uint64_t& bytes, const char* help, Zero zero) {
  const auto set = [&bytes, zero](const std::string& text) {
    const bool is_none = zero == Zero::kIsRight && text == "0";
    const auto read = is_none ? Result<std::uint64_t>(0) : parse_bytes(text);
    if (!read) return read.error().message();
    bytes = *read;
    return std::string();
  };
  return {name, "SIZE", help, text_of_bytes(bytes), "", set};
}

Flag size(const char* name, std::optional<std::uint64_t>& bytes, const char* help) {
  return optional_flag(bytes, [=](std::uint64_t& number) { return size(name, number, help); });
}

Flag seconds(const char* name, Duration& value, const char* help) {
  static constexpr double kMost = 1e9;
  const auto set = [&value](const std::string& text) {
    char* end = nullptr;
    const double read = std::strtod(text.c_str(), &end);
    // A comparison with NaN is false.
    if (*end != '\0' || !(read >= 0 && read <= kMost))
      return fmt::format("\"{}\" is not a number of seconds, 0 to {}", text, kMost);
    value = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(read));
    return std::string();
  };
  return {name, "S", help, fmt::format("{}", std::chrono::duration<double>(value).count()), "", set};
}

Flag share(const char* name, double& value, const char* help) {
  const auto set = [&value](const std::string& text) {
    char* end = nullptr;
    const double read = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0' || !(read > 0 && read <= 1))
      return fmt::format("\"{}\" is not a share, above 0 and 1 at most", text);
    value = read;
    return std::string();
  };
  return {name, "SHARE", help, fmt::format("{}", value), "", set};
}

Flag text(const char* name, const char* takes, std::string& value, const char* help) {
  const auto set = [&value](const std::string& text) {
    value = text;
    return std::string();
  };
  return {name, takes, help, value, "", set};
}

Flag texts(const char* name, const char* takes, std::vector<std::string>& values, const char* help) {
  const auto set = [&values](const std::string& text) {
    values.push_back(text);
    return std::string();
  };
  return {name, takes, help, "", "", set, nullptr, Flag::Repeated::kAllCount};
}

Flag choice(const char* name, std::string& value, std::initializer_list<const char*> words,
            const char* help) {
  std::vector<std::pair<const char*, std::string>> meanings;
  for (const char* word : words) meanings.emplace_back(word, word);
  return choice(name, value, std::move(meanings), help);
}

}  // namespace concertina::cli
