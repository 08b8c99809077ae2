// The promise, from outside: real processes, real sockets, the demo model. No client can tell that the size
// changes.
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <random>

#include "base/check.h"
#include "client/admin.h"
#include "tests/harness/load.h"
#include "tests/harness/server_process.h"

namespace concertina {
namespace {

using harness::Load;

constexpr std::size_t kStreams = 12, kTokens = 400, kVocabulary = 4093, kMaxPrompt = 300;

std::unique_ptr<harness::ServerProcess> start(std::size_t size, const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments{CONCERTINA_SOURCE_DIR "/models/demo", "--data-parallel-size",
                                     std::to_string(size), "--peer-timeout-ms", "60000"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  auto server = harness::ServerProcess::start({.binary = CONCERTINA_BINARY, .arguments = arguments});
  CHECK(server.has_value(), "{}", server.error().message());
  const Status ready = (*server)->wait_ready();
  CHECK(ready.has_value(), "{}", ready.error().message());
  return std::move(*server);
}

std::uint64_t drawn_seed() {
  if (const char* given = std::getenv("CONCERTINA_TEST_SEED")) return std::strtoull(given, nullptr, 10);
  return std::random_device()();
}

struct Case {
  std::uint64_t seed;
  std::vector<std::string> flags;  // of the form: each computes other streams, and each must keep them
};
void PrintTo(const Case& one, std::ostream* out) { *out << "seed " << one.seed; }
class WhileTheSizeChanges : public ::testing::TestWithParam<Case> {};

TEST_P(WhileTheSizeChanges, NoStreamDiffers) {
  const std::uint64_t seed = GetParam().seed;
  std::printf("seed %lu (CONCERTINA_TEST_SEED=%lu replays a drawn one)\n", seed, seed);
  const auto server = start(1, GetParam().flags);
  const auto requests = harness::make_requests(seed, kStreams, kTokens, kVocabulary, kMaxPrompt);
  const auto undisturbed = harness::run_alone(server->url(), requests);

  Load batched(server->url(), requests, Load::Restart::kNo);
  const auto in_a_batch = harness::compare(batched.join(), undisturbed);
  EXPECT_EQ(in_a_batch.n_failed + in_a_batch.n_differing, 0u) << in_a_batch.first_problem;

  Load load(server->url(), requests, Load::Restart::kYes);
  for (const std::size_t size : {2, 4, 3, 1, 2}) {
    // Streams that start again spread over the ranks there are: every leaver carries some when it is told to
    // go.
    const auto all_busy = [&] {
      const auto cluster = client::fetch_cluster(server->url());
      return cluster && std::all_of(cluster->ranks.begin(), cluster->ranks.end(),
                                    [](const auto& rank) { return rank.n_running > 0; });
    };
    ASSERT_TRUE(harness::eventually(all_busy)) << "a rank never got a stream";
    load.wait_for_tokens(200);
    const auto before = client::fetch_cluster(server->url());
    ASSERT_TRUE(before);
    const auto reply = client::scale(server->url(), {.new_size = size});
    ASSERT_TRUE(reply) << reply.error().message();
    const auto operation = client::fetch_operation(server->url(), reply->operation_id);
    ASSERT_TRUE(operation);
    EXPECT_EQ(operation->phase, "done");
    EXPECT_EQ(operation->to_size, size);
    if (size < operation->from_size) {
      EXPECT_GT(operation->moved_requests, 0u) << operation->from_size << " -> " << size;
    }
    EXPECT_EQ(client::fetch_cluster(server->url())->size, size);
  }
  load.wait_for_tokens(200);
  load.stop_restarting();
  const auto while_changing = harness::compare(load.join(), undisturbed);
  EXPECT_EQ(while_changing.n_failed + while_changing.n_differing, 0u) << while_changing.first_problem;
  EXPECT_GE(while_changing.n_streams, kStreams);
  EXPECT_EQ(client::fetch_cluster(server->url())->ranks.size(), 2u);
  EXPECT_TRUE(
      harness::eventually([&] { return client::fetch_cluster(server->url())->n_kv_blocks_used() == 0; }));
}

INSTANTIATE_TEST_SUITE_P(
    FixedAndDrawn, WhileTheSizeChanges,
    ::testing::Values(Case{1, {}}, Case{20261123, {}}, Case{drawn_seed(), {}},
                      Case{20261125, {"--quantization", "int8"}},
                      Case{20261124, {"--activation-dtype", "bfloat16", "--threads-per-rank", "2"}}));

// Every rule, and log-probabilities of prompts and answers: what a stream yields stays a function of its
// request, to the last bit of a logprob.
std::vector<client::GenerationRequest> requests_with_rules() {
  auto requests = harness::make_requests(11, kStreams, kTokens, kVocabulary, kMaxPrompt);
  const char* const rules[] = {
      R"({"logprobs": 5, "echo": true})",
      R"({"logprobs": 0, "frequency_penalty": 0.4, "presence_penalty": 0.3, "repetition_penalty": 1.15})",
      R"({"logprobs": 2, "logit_bias": {"277": -100, "300": 6.5, "11": 3}, "presence_penalty": -1.5})",
      R"({"logprobs": 20, "bad_words": ["the", "a lot", "there is"], "repetition_penalty": 1.3})",
      R"({"logprobs": 1, "min_tokens": 300, "ignore_eos": false, "stop_token_ids": [12, 13, 14, 15]})",
      R"({"logprobs": 3, "echo": true, "frequency_penalty": 2, "top_p": 0.8})"};
  for (std::size_t i = 0; i < requests.size(); ++i) {
    requests[i].more = rules[i / 2 % std::size(rules)];
    if (i % 4 == 1) requests[i].temperature = 1.2;
  }
  std::string allowed = R"({"logprobs": 4, "allowed_token_ids": [)";
  for (int id = 3; id < 4000; id += 3) allowed += (id == 3 ? "" : ",") + std::to_string(id);
  requests.back().more = allowed + "]}";
  return requests;
}

std::vector<client::Generation> generations_alone(const std::string& url,
                                                  const std::vector<client::GenerationRequest>& requests) {
  std::vector<client::Generation> alone;
  for (const client::GenerationRequest& request : requests) {
    auto generated = client::generate(url, request);
    CHECK(generated.has_value(), "{}: {}", request.more, generated.error().message());
    const std::size_t n_echoed =
        request.more.find("echo") != std::string::npos ? request.prompt_ids.size() : 0;
    EXPECT_EQ(generated->logprobs.size(), generated->token_ids.size() + n_echoed) << request.more;
    alone.push_back(std::move(*generated));
  }
  return alone;
}

void expect_equal(const client::Generation& found, const client::Generation& expected,
                  const std::string& what) {
  EXPECT_EQ(found.token_ids, expected.token_ids) << what;
  EXPECT_EQ(found.logprobs, expected.logprobs) << what;
  EXPECT_EQ(found.text, expected.text) << what;
  EXPECT_EQ(found.finish_reason, expected.finish_reason) << what;
}

// The last rank; until another is in its place.
void kill_one(harness::ServerProcess& server, std::size_t size) {
  const auto victim = static_cast<pid_t>(client::fetch_cluster(server.url())->ranks.back().pid);
  CHECK(victim > 0, "a rank without a process");  // kill(-1) would end everything
  kill(victim, SIGKILL);
  EXPECT_TRUE(harness::eventually([&] {
    const auto cluster = client::fetch_cluster(server.url());
    return cluster && cluster->ranks.size() == size &&
           std::all_of(cluster->ranks.begin(), cluster->ranks.end(), [&](const auto& rank) {
             return rank.state == "active" && static_cast<pid_t>(rank.pid) != victim;
           });
  })) << server.log();
}

TEST(Elastic, NoRuleAndNoLogprobDiffersWhateverBecomesOfRanks) {
  const auto server = start(2);
  const auto requests = requests_with_rules();
  const auto undisturbed = generations_alone(server->url(), requests);
  Load load(server->url(), requests, Load::Restart::kYes);
  for (const std::size_t size : {4, 3, 1, 3}) {
    load.wait_for_tokens(300);
    const auto reply = client::scale(server->url(), {.new_size = size});
    ASSERT_TRUE(reply) << reply.error().message();
    load.wait_for_tokens(300);
    ASSERT_EQ(client::fetch_cluster(server->url())->ranks.size(), size);
    if (size > 1) kill_one(*server, size);
  }
  load.wait_for_tokens(300);
  load.stop_restarting();
  const auto records = load.join();
  EXPECT_GE(records.size(), kStreams);
  for (const harness::StreamRecord& record : records) {
    EXPECT_EQ(record.error, "") << requests[record.request].more;
    expect_equal(record.generation, undisturbed[record.request], requests[record.request].more);
  }
}

TEST(Elastic, AnyRankMayBeTheOneToLeaveAlsoAllOfThem) {
  const auto server = start(3);
  const auto requests = harness::make_requests(5, kStreams, kTokens, kVocabulary, kMaxPrompt);
  const auto undisturbed = harness::run_alone(server->url(), requests);
  Load load(server->url(), requests, Load::Restart::kYes);
  load.wait_for_tokens(300);
  const auto scale = [&](std::size_t size, std::vector<RankId> retire) {
    const auto reply = client::scale(server->url(), {.new_size = size, .retire = std::move(retire)});
    ASSERT_TRUE(reply) << reply.error().message();
    EXPECT_GT(client::fetch_operation(server->url(), reply->operation_id)->moved_requests, 0u);
    load.wait_for_tokens(200);
  };
  scale(2, {RankId(0)});
  scale(2, {RankId(1), RankId(2)});
  load.stop_restarting();
  const auto compared = harness::compare(load.join(), undisturbed);
  EXPECT_EQ(compared.n_failed + compared.n_differing, 0u) << compared.first_problem;
}

}  // namespace
}  // namespace concertina
