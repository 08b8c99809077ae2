#include "base/json_text.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace concertina {
namespace {

TEST(JsonText, WhatStrictJsonHasStaysAsItIs) {
  for (const char* text :
       {"", "{\"a\": [1, -2.5e-3, true, null, \"NaN 1e999 \\\" 99999999999999999999\"]}", "\"open", "\"\\",
        "-", "e", "1e-999", "[18446744073709551615, -9223372036854775808]", "false"}) {
    EXPECT_EQ(to_strict_json(text), text);
  }
}

TEST(JsonText, WhatPythonWritesBeyondItIsRewritten) {
  EXPECT_EQ(to_strict_json("\xEF\xBB\xBF{}"), "{}");
  EXPECT_EQ(to_strict_json("{\"n\":1000000000000000019884624838656}"),
            "{\"n\":1000000000000000019884624838656e0}");
  EXPECT_EQ(to_strict_json("[18446744073709551616,-9223372036854775809]"),
            "[18446744073709551616e0,-9223372036854775809e0]");
  for (const auto& [text, name] : {std::pair{"NaN", "NaN"},
                                   {"Infinity", "Infinity"},
                                   {"-Infinity", "-Infinity"},
                                   {"1e999", "Infinity"},
                                   {"-1E+999", "-Infinity"}}) {
    const std::string rewritten = to_strict_json(text);
    EXPECT_EQ(name_of_stand_in(std::strtod(rewritten.c_str(), nullptr)), name) << rewritten;
  }
  EXPECT_EQ(name_of_stand_in(std::strtod(to_strict_json(std::string(400, '9')).c_str(), nullptr)),
            "Infinity");
  EXPECT_EQ(name_of_stand_in(1e308), "");
  EXPECT_EQ(name_of_stand_in(1.7976931348623157e308), "") << "the largest double is itself";
}

}  // namespace
}  // namespace concertina
