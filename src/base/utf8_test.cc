#include "base/utf8.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace concertina {
namespace {

// Bytes that meet what can go wrong: characters of every length, their pieces, and bytes that begin none.
rc::Gen<std::string> any_bytes() {
  const auto piece = rc::gen::oneOf(
      rc::gen::elementOf(std::vector<std::string>{"a", "ü", "世", "😀", "\xE4\xB8", "\xF0\x9F", "\xC3", "\x80",
                                                  "\xED\xA0\x80"}),
      rc::gen::map(rc::gen::arbitrary<char>(), [](char byte) { return std::string(1, byte); }));
  return rc::gen::map(rc::gen::container<std::vector<std::string>>(piece),
                      [](const std::vector<std::string>& pieces) {
                        std::string out;
                        for (const std::string& one : pieces) out += one;
                        return out;
                      });
}

RC_GTEST_PROP(Utf8, WhatIsReplacedIsValidAndValidTextStaysAsItIs, ()) {
  const std::string bytes = *any_bytes();
  const std::string text = replace_invalid_utf8(bytes);
  RC_ASSERT(is_valid_utf8(text));
  RC_ASSERT(replace_invalid_utf8(text) == text);
  if (is_valid_utf8(bytes)) RC_ASSERT(text == bytes);
}

RC_GTEST_PROP(Utf8, AStreamCutAnywhereIsTheSameText, ()) {
  const std::string bytes = *any_bytes();
  Utf8Stream stream;
  std::string joined;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t n = *rc::gen::inRange<std::size_t>(1, bytes.size() - at + 1);
    stream.push(std::string_view(bytes).substr(at, n), joined);
    at += n;
  }
  stream.flush(joined);
  RC_ASSERT(joined == replace_invalid_utf8(bytes));
}

RC_GTEST_PROP(Utf8, ACharacterIsReadAsItWasWritten, ()) {
  const auto code_point = static_cast<char32_t>(*rc::gen::suchThat(
      rc::gen::inRange(0, 0x110000), [](int code) { return code < 0xD800 || code > 0xDFFF; }));
  std::string text;
  append_utf8(code_point, text);
  const Utf8Unit unit = next_utf8(text);
  RC_ASSERT(unit.kind == Utf8Kind::kValid);
  RC_ASSERT(unit.length == text.size());
  RC_ASSERT(unit.code_point == code_point);
}

}  // namespace
}  // namespace concertina
