// What a group of ranks may come to take is known before any of them starts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/memory_limits.h"
#include "client/admin.h"
#include "client/http.h"
#include "tests/harness/server_process.h"

namespace concertina {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

client::Response post(const std::string& url, const std::string& target, const json& body) {
  const auto response = client::request(url, "POST", target, body.dump(), std::chrono::seconds(60));
  CHECK(response.has_value(), "{}", response.error().message());
  return *response;
}

// Ranks that start easily, since pages appear when they are written, and would not fit once they serve.
class Memory : public testing::Test {
 protected:
  static std::string share_of_the_machine(double share) {
    const auto limits = read_memory_limits();
    CHECK(!limits.empty(), "no limit can be read");
    std::uint64_t least = limits[0].bytes;
    for (const MemoryLimit& limit : limits) least = std::min(least, limit.bytes);
    return std::to_string(static_cast<std::uint64_t>(share * static_cast<double>(least)));
  }
};

TEST_F(Memory, MoreRanksThanFitAreRefusedAtTheStart) {
  const auto finished = harness::run_to_end(
      CONCERTINA_BINARY, {"serve", CONCERTINA_SOURCE_DIR "/models/demo", "--port", "0",
                          "--data-parallel-size", "3", "--kv-cache-memory", share_of_the_machine(0.4)});
  EXPECT_EQ(finished.exit_code, 1) << finished.output;
  EXPECT_THAT(finished.output, HasSubstr("3 ranks need 3 x ("));
  EXPECT_THAT(finished.output, HasSubstr("GiB KV (--kv-cache-memory)"));
}

TEST_F(Memory, AScaleBeyondItIsRefusedBeforeAnyRankStarts) {
  const auto started = harness::ServerProcess::start(
      {.binary = CONCERTINA_BINARY,
       .arguments = {CONCERTINA_SOURCE_DIR "/models/demo", "--data-parallel-size", "2", "--kv-cache-memory",
                     share_of_the_machine(0.4)}});
  ASSERT_TRUE(started) << started.error().message();
  const auto& server = *started;
  ASSERT_TRUE(server->wait_ready()) << server->log();
  const auto answer = post(server->url(), "/scale_elastic_ep", {{"new_data_parallel_size", 3}});
  EXPECT_EQ(answer.status, 400) << answer.body;
  EXPECT_THAT(answer.body, HasSubstr("3 ranks need 3 x ("));
  EXPECT_EQ(json::parse(answer.body)["error"]["code"], "not_enough_memory");
  const auto cluster = client::fetch_cluster(server->url()).value();
  EXPECT_EQ(cluster.size, 2u);
  EXPECT_FALSE(cluster.operation);
  EXPECT_EQ(cluster.ranks.size(), 2u);
  EXPECT_EQ(post(server->url(), "/scale_elastic_ep",
                 {{"new_data_parallel_size", 2}, {"retire", {cluster.ranks[0].rank.value()}}})
                .status,
            400)
      << "a replace is three ranks for a while";
  EXPECT_EQ(post(server->url(), "/scale_elastic_ep", {{"new_data_parallel_size", 1}}).status, 200);
}

// Shared memory of one process that is there.
std::size_t shared_kib(std::uint32_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("RssShmem:")) return std::stoul(line.substr(9));
  return 0;
}

TEST_F(Memory, OfARankThatServesAllKvMemoryIsThereSoon) {
  constexpr std::size_t kKvMib = 96;
  const auto started = harness::ServerProcess::start(
      {.binary = CONCERTINA_BINARY,
       .arguments = {CONCERTINA_SOURCE_DIR "/models/demo", "--data-parallel-size", "2", "--kv-cache-memory",
                     std::to_string(kKvMib << 20)}});
  ASSERT_TRUE(started) << started.error().message();
  ASSERT_TRUE((*started)->wait_ready()) << (*started)->log();
  const auto cluster = client::fetch_cluster((*started)->url()).value();
  ASSERT_EQ(cluster.ranks.size(), 2u);
  for (const auto& rank : cluster.ranks)
    EXPECT_TRUE(harness::eventually([&] { return shared_kib(rank.pid) >= (kKvMib - 1) << 10; }))
        << "rank " << rank.rank.value() << " has " << shared_kib(rank.pid) << " KiB";
}

// Four of 256 tokens, of 6 KiB each, are little beside what any machine has.
TEST_F(Memory, WithoutASizeKvHasRoomForAllSequencesOfARank) {
  const auto started = harness::ServerProcess::start(
      {.binary = CONCERTINA_BINARY,
       .arguments = {CONCERTINA_SOURCE_DIR "/models/demo", "--max-num-seqs", "4", "--max-model-len", "256"}});
  ASSERT_TRUE(started) << started.error().message();
  ASSERT_TRUE((*started)->wait_ready()) << (*started)->log();
  EXPECT_THAT((*started)->log(), HasSubstr("KV cache of a rank: 6 MiB, 1024 tokens (--kv-cache-memory)"));
  const auto cluster = client::fetch_cluster((*started)->url()).value();
  ASSERT_EQ(cluster.ranks.size(), 1u);
  EXPECT_EQ(cluster.ranks[0].kv_blocks_total, 4u * 256 / 16);
}

}  // namespace
}  // namespace concertina
