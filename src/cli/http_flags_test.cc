#include "cli/http_flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "cli/error.h"

namespace concertina::cli {
namespace {

using ::testing::HasSubstr;

std::string file_with(const std::string& text) {
  const std::string path = ::testing::TempDir() + "concertina_keys";
  std::ofstream(path) << text;
  return path;
}

class HttpFlagsTest : public ::testing::Test {
 protected:
  void SetUp() override { unsetenv("CONCERTINA_API_KEY"); }
  void TearDown() override { unsetenv("CONCERTINA_API_KEY"); }
};

TEST_F(HttpFlagsTest, ABodyMayHoldTheLongestPrompt) {
  EXPECT_EQ(default_max_body_bytes(1024), 4u << 20);
  EXPECT_EQ(default_max_body_bytes(1 << 20), 8u << 20);
  EXPECT_EQ(make_server_options({}, 1 << 20, {})->limits.max_body_bytes, 8u << 20);
  EXPECT_EQ(make_server_options({.max_body_bytes = 1u << 20}, 1 << 20, {})->limits.max_body_bytes, 1u << 20);
}

TEST_F(HttpFlagsTest, UnfinishedBodiesHaveRoomForFour) {
  EXPECT_EQ(make_server_options({}, 1024, {})->limits.unfinished_bodies_bytes, 256u << 20);
  EXPECT_EQ(make_server_options({.max_body_bytes = 100u << 20}, 1024, {})->limits.unfinished_bodies_bytes,
            400u << 20);
}

TEST_F(HttpFlagsTest, KeysComeFromFlagsAFileAndTheEnvironment) {
  setenv("CONCERTINA_API_KEY", "from-environment", 1);
  const auto options = make_server_options(
      {.api_keys = {"one", "two"},
       .api_key_file = file_with("# ours\nthree\r\n\nfour  \n \t# old: gone\n\t five# # of five\n \n")},
      1024, {});
  ASSERT_TRUE(options) << options.error().message();
  for (const char* key : {"one", "two", "three", "four", "five#", "from-environment"})
    EXPECT_TRUE(options->api_keys.contains(key)) << key;
  for (const char* comment : {"# ours", "# old: gone", "five", "gone"})
    EXPECT_FALSE(options->api_keys.contains(comment)) << comment;
  EXPECT_EQ(std::getenv("CONCERTINA_API_KEY"), nullptr) << "ranks need not know it";
}

TEST_F(HttpFlagsTest, AKeyThatIsNoneIsAnErrorThatSaysWhereItStands) {
  const auto message = [](const HttpFlags& flags) {
    const auto options = make_server_options(flags, 1024, {});
    EXPECT_FALSE(options);
    return options ? std::string() : options.error().message();
  };
  EXPECT_THAT(message({.api_keys = {"a b"}}), HasSubstr("--api-key: "));
  EXPECT_THAT(message({.api_key_file = "/nonexistent"}),
              HasSubstr("--api-key-file /nonexistent: cannot read"));
  EXPECT_THAT(message({.api_key_file = file_with("# nothing\n")}), HasSubstr("there is no key in it"));
  EXPECT_THAT(message({.api_key_file = file_with("good\nb\x01"
                                                 "ad\n")}),
              HasSubstr("line 2"));
  setenv("CONCERTINA_API_KEY", "", 1);
  EXPECT_THAT(message({}), HasSubstr("CONCERTINA_API_KEY"))
      << "an empty one must not mean that nobody is asked";
}

TEST_F(HttpFlagsTest, AddressesOfIpv6HaveBracketsInUrlsAndMayHaveThemInFlags) {
  EXPECT_EQ(url_of("::1", 8000), "http://[::1]:8000");
  EXPECT_EQ(url_of("127.0.0.1", 8000), "http://127.0.0.1:8000");
  EXPECT_EQ(make_server_options({.host = "[::1]"}, 1024, {})->host, "::1");
}

}  // namespace
}  // namespace concertina::cli
