#pragma once

#include <cstdint>
#include <vector>

namespace concertina::grammar {

inline constexpr char32_t kLastCodePoint = 0x10FFFF;

struct CodePointRange {
  char32_t first = 0, last = 0;
  bool operator==(const CodePointRange&) const = default;
};

// A set of characters: sorted ranges that do not touch. Surrogates are in no set.
class CodePoints {
 public:
  CodePoints() = default;
  CodePoints(std::initializer_list<CodePointRange> ranges) {
    for (const auto& range : ranges) add(range.first, range.last);
  }
  static CodePoints all() { return {{0, kLastCodePoint}}; }

  void add(char32_t first, char32_t last);  // first <= last
  void add(const CodePoints& other);
  CodePoints complement() const;
  CodePoints within(char32_t first, char32_t last) const;
  CodePoints without(char32_t one) const;
  bool contains(char32_t one) const;
  const std::vector<CodePointRange>& ranges() const { return ranges_; }

 private:
  void add_range(char32_t first, char32_t last);
  std::vector<CodePointRange> ranges_;
};

}  // namespace concertina::grammar
