#include "cli/decide_form.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "device/instruction_set.h"

namespace concertina::cli {
namespace {

using front::Form;
using ::testing::HasSubstr;

const std::string kBest = device::name_of(device::best_instruction_set());

TEST(FormTest, WithoutAFlagItIsFloat32WithTheBestInstructionSet) {
  EXPECT_EQ(decide_form({}, std::nullopt).value(), (Form{kBest, "none", "float32"}));
}

TEST(FormTest, WhatWasKeptCountsWhereNoFlagWasGiven) {
  const Form kept{"portable", "none", "bfloat16"};
  EXPECT_EQ(decide_form({}, kept).value(), kept);
  EXPECT_EQ(decide_form({.activation_dtype = "float32"}, kept).value(),
            (Form{"portable", "none", "float32"}));
  EXPECT_EQ(decide_form({.instruction_set = kBest}, kept).value(), (Form{kBest, "none", "bfloat16"}));
}

TEST(FormTest, AKeptInstructionSetThatThisMachineLacksIsNotInsistedOn) {
  EXPECT_EQ(decide_form({}, Form{"avx1024", "int8", "float32"}).value(), (Form{kBest, "int8", "float32"}));
}

TEST(FormTest, AFlagThatAsksForWhatIsNotThereIsRefused) {
  EXPECT_THAT(decide_form({.instruction_set = "avx1024"}, std::nullopt).error().message(),
              HasSubstr("must be portable, avx2 or avx512"));
}

TEST(FormTest, Int8AndBfloat16ExcludeEachOther) {
  const auto both = decide_form({.quantization = "int8", .activation_dtype = "bfloat16"}, std::nullopt);
  ASSERT_FALSE(both);
  EXPECT_THAT(both.error().message(), HasSubstr("leave one of the two out"));
  // Against one that was kept, the flag counts.
  EXPECT_EQ(decide_form({.quantization = "int8"}, Form{kBest, "none", "bfloat16"}).value(),
            (Form{kBest, "int8", "float32"}));
  EXPECT_EQ(decide_form({.activation_dtype = "bfloat16"}, Form{kBest, "int8", "float32"}).value(),
            (Form{kBest, "none", "bfloat16"}));
  // And a table is no wish.
  EXPECT_EQ(decide_form({.quantization = "int8", .activation_dtype = "auto"}, std::nullopt).value(),
            (Form{kBest, "int8", "float32"}));
}

TEST(FormTest, TheTableIsOfTheKernelsThatRun) {
  for (const char* set : {"portable", "avx2"}) {
    if (!device::parse_instruction_set(set)) continue;  // not of this processor
    EXPECT_EQ(decide_form({.instruction_set = set, .activation_dtype = "auto"}, std::nullopt).value(),
              (Form{set, "none", "float32"}));
  }
}

TEST(FormTest, ADamagedOneIsNamed) {
  EXPECT_THAT(decide_form({}, Form{kBest, "int3", "float32"}).error().message(),
              HasSubstr("--state-dir kept: unknown quantization \"int3\": must be none or int8"));
  EXPECT_THAT(decide_form({}, Form{kBest, "none", "auto"}).error().message(),
              HasSubstr("--state-dir kept: unknown activation type \"auto\""));
}

}  // namespace
}  // namespace concertina::cli
