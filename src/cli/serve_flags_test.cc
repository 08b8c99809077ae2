#include "cli/serve_flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <map>

namespace concertina::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Loading = front::FrontOptions::WeightLoading;

// What is wrong with a command line; empty: nothing, and `options` are set.
std::string read(std::vector<std::string> arguments, ServeOptions& options) {
  CLI::App app;
  add_flags(app, serve_flags(options));
  std::reverse(arguments.begin(), arguments.end());
  try {
    app.parse(arguments);
  } catch (const CLI::ParseError& error) {
    return error.what();
  }
  const Status fits = check_flags(serve_flags(options));
  return fits ? "" : fits.error().message();
}
std::string wrong_with(std::vector<std::string> arguments) {
  ServeOptions options;
  return read(std::move(arguments), options);
}

TEST(ServeFlags, SetWhatTheirRowsName) {
  ServeOptions o;
  ASSERT_EQ(read({"--max-num-seqs", "7", "--kv-cache-memory", "1GiB", "--shutdown-timeout", "1.5",
                  "--safetensors-load-strategy", "lazy", "--no-pin-threads", "--port", "0", "--max-model-len",
                  "100", "--max-body-bytes", "1MiB", "--quantization", "int8", "--skip-tokenizer-init"},
                 o),
            "");
  EXPECT_EQ(o.front.max_num_seqs, 7u);
  EXPECT_EQ(o.kv_cache_bytes, 1u << 30);
  EXPECT_EQ(o.front.shutdown_timeout, std::chrono::milliseconds(1500));
  EXPECT_EQ(o.front.weight_loading, Loading::kLazy);
  EXPECT_FALSE(o.pin_threads);
  EXPECT_EQ(o.http.port, 0);
  EXPECT_EQ(o.max_model_len, 100u);
  EXPECT_EQ(o.http.max_body_bytes, 1u << 20);
  EXPECT_EQ(o.form.quantization, "int8");
  EXPECT_TRUE(o.skip_tokenizer_init);
  ASSERT_EQ(read({"--kv-move-bandwidth", "0"}, o), "");
  EXPECT_EQ(o.front.kv_move_bytes_per_second, 0u);
}

TEST(ServeFlags, OfOneGivenTwiceTheLastCountsAndOfAListAll) {
  ServeOptions o;
  ASSERT_EQ(
      read({"--host", "::1", "--no-replace-failed-ranks", "--host", "127.0.0.1", "--replace-failed-ranks",
            "--allowed-hosts", "a,b", "--api-key", "one", "--allowed-hosts", "c", "--api-key", "two"},
           o),
      "");
  EXPECT_EQ(o.http.host, "127.0.0.1");
  EXPECT_EQ(o.front.cluster.replace_failed, front::FrontOptions::ReplaceFailed::kYes);
  EXPECT_THAT(o.http.allowed_hosts, testing::ElementsAre("a", "b", "c"));
  EXPECT_THAT(o.http.api_keys, testing::ElementsAre("one", "two"));
}

TEST(ServeFlags, AWrongValueIsNamedWithWhatItMustBe) {
  EXPECT_EQ(wrong_with({"--max-num-seqs", "4097"}), "--max-num-seqs is 4097, but must be in 1..4096");
  EXPECT_EQ(wrong_with({"--max-data-parallel-size", "0"}),
            "--max-data-parallel-size is 0, but must be in 1..64");
  EXPECT_EQ(wrong_with({"--data-parallel-size", "9"}), "--data-parallel-size is 9, but must be in 1..8");
  EXPECT_EQ(wrong_with({"--max-num-seqs", "600"}),
            "--max-num-batched-tokens is 512, but must be in 600..65536");
  EXPECT_EQ(wrong_with({"--max-model-len", "1"}), "--max-model-len is 1, but must be in 2..1073741824");
  EXPECT_EQ(wrong_with({"--port", "65536"}), "--port: \"65536\" is not a whole number up to 65535");
  EXPECT_EQ(wrong_with({"--block-size", "0x10"}),
            "--block-size: \"0x10\" is not a whole number up to 18446744073709551615");
  EXPECT_EQ(wrong_with({"--load-format", "magic"}), "--load-format: \"magic\" is not one of auto|dummy");
  EXPECT_THAT(wrong_with({"--shutdown-timeout", "nan"}), HasSubstr("not a number of seconds"));
  EXPECT_THAT(wrong_with({"--shutdown-timeout", "5s"}), HasSubstr("\"5s\" is not a number of seconds"));
  EXPECT_THAT(wrong_with({"--kv-cache-memory", "lots"}),
              HasSubstr("--kv-cache-memory: \"lots\" is not a size"));
  EXPECT_THAT(wrong_with({"--kv-cache-memory", "0"}), HasSubstr("--kv-cache-memory: \"0\" is not a size"));
  EXPECT_THAT(wrong_with({"--max-body-bytes", "lots"}),
              HasSubstr("--max-body-bytes: \"lots\" is not a size"));
  for (const char* flag : {"--host", "--port", "--state-dir", "--served-model-name", "--api-key"})
    EXPECT_THAT(wrong_with({flag, ""}), HasSubstr("it is empty"))
        << flag << ": of a variable that is not set";
}

TEST(ServeFlags, HelpSaysRangesInWords) {
  ServeOptions options;
  CLI::App app;
  add_flags(app, serve_flags(options));
  const std::string help = app.help();
  EXPECT_THAT(help, HasSubstr("--max-num-seqs N "));
  EXPECT_THAT(help, HasSubstr("sequences in one step of a rank (1 to 4096; default: 64)"));
  EXPECT_THAT(help, HasSubstr("(--min-data-parallel-size to --max-data-parallel-size; default: 1)"));
  EXPECT_THAT(help, HasSubstr("--load-format auto|dummy"));
  EXPECT_THAT(help, Not(HasSubstr("withhold")));
}

// README's table: a flag with what it takes, to its default.
std::map<std::string, std::string> flags_of_readme() {
  std::ifstream file(CONCERTINA_SOURCE_DIR "/README.md");
  std::map<std::string, std::string> rows;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("| `--")) continue;
    for (std::size_t at; (at = line.find("\\|")) != line.npos;) line.replace(at, 2, "\1");
    const std::size_t flag_end = line.find("` |"), default_end = line.find('|', flag_end + 3);
    std::string flag = line.substr(3, flag_end - 3),
                otherwise = line.substr(flag_end + 3, default_end - flag_end - 3);
    std::replace(flag.begin(), flag.end(), '\1', '|');
    otherwise.erase(0, otherwise.find_first_not_of(' '));
    otherwise.erase(otherwise.find_last_not_of(' ') + 1);
    rows[flag] = otherwise;
  }
  return rows;
}

TEST(ServeFlags, AreWhatReadmeSays) {
  ServeOptions options;
  std::map<std::string, std::string> rows;
  for (const Flag& flag : serve_flags(options)) {
    if (flag.shown == Flag::Shown::kYes)
      rows[flag.takes.empty() ? flag.name : flag.name + " " + flag.takes] = flag.default_value;
  }
  EXPECT_EQ(flags_of_readme(), rows);
}

}  // namespace
}  // namespace concertina::cli
