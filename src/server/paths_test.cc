#include "server/paths.h"

#include <gtest/gtest.h>

namespace concertina::server {
namespace {

TEST(Paths, SlashesTooManyAreNone) {
  EXPECT_EQ(without_extra_slashes("//v1//models/"), "/v1/models");
  EXPECT_EQ(without_extra_slashes("/"), "/");
  EXPECT_EQ(without_extra_slashes(""), "");
}

TEST(Paths, AreOursByTheNamesOfOtherServers) {
  EXPECT_EQ(path_of_alias("/chat/completions"), "/v1/chat/completions");
  EXPECT_EQ(path_of_alias("/apply-template"), "/render");
  EXPECT_EQ(path_of_alias("/cluster"), "/cluster");
}

TEST(Paths, OnlyProperEscapesAreDecoded) {
  EXPECT_EQ(percent_decoded("a%2Fb%2"), "a/b%2");
  EXPECT_EQ(percent_decoded("100%zz"), "100%zz");
}

}  // namespace
}  // namespace concertina::server
