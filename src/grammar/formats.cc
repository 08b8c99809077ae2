#include "grammar/formats.h"

#include <fmt/format.h>

namespace concertina::grammar {
namespace {

constexpr const char* kDate =
    "(\\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|02-(0[1-9]|1\\d|2[0-8])"
    ")"
    "|(\\d\\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)";

// 23:59:60 at UTC, as clocks elsewhere show it.
std::string leap_seconds() {
  std::string all = "23:59:60(\\.\\d+)?([Zz]|[+-]00:00)";
  for (int hour = 1; hour < 24; ++hour) {
    all += fmt::format("|{:02}:59:60(\\.\\d+)?\\+{:02}:00", (23 + hour) % 24, hour);
    all += fmt::format("|{:02}:59:60(\\.\\d+)?-{:02}:00", 23 - hour, hour);
  }
  return all;
}

std::string date_time() {
  return fmt::format(
      "{}[Tt](([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d+)?([Zz]|[+-]([01]\\d|2[0-3]):[0-5]\\d)|{})", kDate,
      leap_seconds());
}

std::string email() {
  const std::string word = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+";
  const std::string local = fmt::format("({0}(\\.{0})*|\"([ !#-\\[\\]-~]|\\\\[ -~])*\")", word);
  const std::string label = "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?";
  const std::string byte = "(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
  const std::string ipv4 = fmt::format("{0}(\\.{0}){{3}}", byte);
  const std::string group = "[0-9A-Fa-f]{1,4}";
  std::string ipv6 = fmt::format("({0}:){{7}}{0}", group);
  for (int before = 0; before < 8; ++before)
    for (int after = 0; before + after < 7; ++after) {
      const std::string head = before == 0 ? "" : fmt::format("{0}(:{0}){{{1}}}", group, before - 1);
      const std::string tail = after == 0 ? "" : fmt::format("{0}(:{0}){{{1}}}", group, after - 1);
      ipv6 += "|" + head + "::" + tail;
    }
  return fmt::format("{}@({}(\\.{})*|\\[({}|IPv6:({}))\\])", local, label, label, ipv4, ipv6);
}

}  // namespace

std::string_view formats() { return "date, date-time, uuid, email"; }

std::optional<std::string> expression_of_format(std::string_view format) {
  if (format == "date") return kDate;
  if (format == "date-time") return date_time();
  if (format == "uuid") return "[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}";
  if (format == "email") return email();
  return std::nullopt;
}

}  // namespace concertina::grammar
