#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace concertina::server::openai {

// Stop strings made ready for search: for each the lengths of its borders (Knuth, Morris, Pratt: Fast Pattern
// Matching in Strings, 1977), so that a byte of an answer costs a few steps whatever a client's strings look
// like. Immutable; shared by the choices of a request.
class StopTable {
 public:
  StopTable() = default;
  explicit StopTable(std::vector<std::string> strings);  // none empty

  bool empty() const { return patterns_.empty(); }
  std::size_t size() const { return patterns_.size(); }
  std::size_t length(std::size_t index) const { return patterns_[index].text.size(); }
  const std::string& text(std::size_t index) const { return patterns_[index].text; }
  // How much of string `index` the text ends with, given how much it ended with before `byte`.
  std::size_t advance(std::size_t index, std::size_t n_matched, char byte) const;

 private:
  struct Pattern {
    std::string text;
    std::vector<std::uint32_t> borders;  // [text.size()]: of the first i + 1 bytes, the longest proper border
  };
  std::vector<Pattern> patterns_;
};

// Finds stop strings in a text that comes in pieces. No part of a stop string is ever let through: what might
// be the beginning of one is held back until it is clear. Where several end in one piece, the text ends
// before the one that began first, or behind it.
class StopStrings {
 public:
  enum class Cut : std::uint8_t { kBefore, kBehind };
  explicit StopStrings(std::shared_ptr<const StopTable> table, Cut cut = Cut::kBefore)
      : table_(std::move(table)), cut_(cut), n_matched_(table_->size()) {}

  struct Step {
    std::string text;  // to emit now
    enum class Hit { kNo, kYes } hit = Hit::kNo;
    std::size_t index = 0;  // of the string that ended the text
  };
  Step push(std::string_view text);
  std::string flush();  // the stream ended otherwise: what was held back

 private:
  std::shared_ptr<const StopTable> table_;
  Cut cut_;
  std::vector<std::size_t> n_matched_;  // of each string, that the text ends with
  std::string held_;                    // the longest of those
};

}  // namespace concertina::server::openai
