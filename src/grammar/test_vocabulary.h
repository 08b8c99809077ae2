#pragma once

#include <memory>
#include <string>
#include <vector>

#include "grammar/token_trie.h"

namespace concertina::grammar {

// Every byte, and pieces as tokenizers have them: words with and without a space, digits, what JSON joins,
// halves of characters.
inline std::shared_ptr<const Vocabulary> test_vocabulary() {
  std::vector<std::string> bytes = {"", ""};  // two special tokens
  for (int byte = 0; byte < 256; ++byte) bytes.emplace_back(1, static_cast<char>(byte));
  for (const char* text :
       {"{\"",  "\":",      "\": ",  "\": \"",   "\",",  "\", \"",   "\"}",      "\"]",   "}]",
        "}}",   "]}",       "],",    "},",       ", ",   ": ",       "[{",       "[]",    "{}",
        "true", "false",    "null",  "tr",       "ue",   "name",     "na",       "me",    " the",
        "the",  " t",       "ab",    "abc",      "aa",   "aaa",      "bb",       "10",    "12",
        "00",   "1.",       ".5",    "e+",       "-1",   "\\\"",     "\\n",      "\\u",   "\\u00",
        "\xC3", "\xC3\xA9", "\xA9x", "\xE2\x82", "\xAC", "\xF0\x9F", "\x98\x80", "\n",    "\n  ",
        "\n\n", "  ",       "    ",  "foo",      "bar",  "baz",      "\"foo",    "foo\"", "foo\":",
        "fo",   "2024",     "-0",    "T1",       ":00",  "@",        ".com",     "a\"",   "a\",\"",
        "a\"}", "1,",       "1}",    "1]",       "\"a"})
    bytes.emplace_back(text);
  const std::size_t n = bytes.size();
  return std::make_shared<const Vocabulary>(std::move(bytes), n + 5);
}

}  // namespace concertina::grammar
