// Structured output as a client sees it, on a real server with the demo model: every answer is as its
// request says, and none differs, whatever becomes of ranks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <functional>
#include <nlohmann/json.hpp>
#include <regex>

#include "base/check.h"
#include "client/admin.h"
#include "client/http.h"
#include "tests/harness/load.h"
#include "tests/harness/server_process.h"

namespace concertina {
namespace {

using harness::Load;
using nlohmann::json;
using testing::HasSubstr;

constexpr std::size_t kStreams = 12, kTokens = 800, kVocabulary = 4093, kMaxPrompt = 200;

std::unique_ptr<harness::ServerProcess> start(std::size_t size) {
  auto server = harness::ServerProcess::start(
      {.binary = CONCERTINA_BINARY,
       .arguments = {CONCERTINA_SOURCE_DIR "/models/demo", "--data-parallel-size", std::to_string(size),
                     "--peer-timeout-ms", "60000"}});
  CHECK(server.has_value(), "{}", server.error().message());
  const Status ready = (*server)->wait_ready();
  CHECK(ready.has_value(), "{}", ready.error().message());
  return std::move(*server);
}

const json kPeople = json::parse(R"({"type": "array", "minItems": 3, "maxItems": 4, "items": {
    "type": "object", "additionalProperties": false, "required": ["name", "age", "tags"], "properties": {
      "name": {"type": "string", "minLength": 2, "maxLength": 8},
      "age": {"type": "integer", "minimum": 7, "maximum": 99},
      "tags": {"type": "array", "items": {"enum": ["red", "green", "blue"]}, "maxItems": 3}}}})");
const char* const kWords = "([a-z]{3,9} ){40,60}[a-z]{2,5}\\.";
const char* const kSums = R"E(root ::= line{14,20}
line ::= term (" + " term){1,3} ";" "\n"
term ::= [1-9] [0-9]{0,2} | "(" [a-z]{1,4} ")")E";

bool is_person(const json& one) {
  const auto is_tag = [](const json& tag) { return tag == "red" || tag == "green" || tag == "blue"; };
  return one.is_object() && one.size() == 3 && one.at("name").is_string() &&
         one.at("age").is_number_integer() && one.at("age") >= 7 && one.at("age") <= 99 &&
         one.at("tags").is_array() && one.at("tags").size() <= 3 &&
         std::all_of(one.at("tags").begin(), one.at("tags").end(), is_tag);
}

bool are_people(const std::string& text) {
  const json people = json::parse(text, nullptr, false);
  return people.is_array() && people.size() >= 3 && people.size() <= 4 &&
         std::all_of(people.begin(), people.end(), is_person);
}

// A way to ask, and whether a text is what was asked for.
struct Asked {
  json fields;
  std::function<bool(const std::string&)> is_valid;
};

std::vector<Asked> ways_to_ask() {
  const auto matches = [](const char* regex) {
    return [regex = std::regex(regex)](const std::string& text) { return std::regex_match(text, regex); };
  };
  return {
      {{{"structured_outputs", {{"json", kPeople}}}}, are_people},
      {{{"structured_outputs", {{"regex", kWords}}}}, matches(kWords)},
      {{{"structured_outputs", {{"grammar", kSums}}}},
       matches(
           R"(((?:[1-9][0-9]{0,2}|\([a-z]{1,4}\))( \+ (?:[1-9][0-9]{0,2}|\([a-z]{1,4}\))){1,3};\n){14,20})")}};
}

std::vector<client::GenerationRequest> structured_requests(const std::vector<Asked>& ways) {
  auto requests = harness::make_requests(15, kStreams, kTokens, kVocabulary, kMaxPrompt);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    requests[i].ignore_eos = false;
    requests[i].more = ways[i % ways.size()].fields.dump();
    if (i / 3 % 2 == 1) requests[i].temperature = 1.1;
  }
  return requests;
}

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

TEST(Structures, EveryAnswerIsValidAndNoneDiffersWhateverBecomesOfRanks) {
  const auto server = start(2);
  const std::vector<Asked> ways = ways_to_ask();
  const auto requests = structured_requests(ways);
  std::vector<client::Generation> undisturbed;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    auto generated = client::generate(server->url(), requests[i]);
    ASSERT_TRUE(generated) << requests[i].more << ": " << generated.error().message();
    EXPECT_EQ(generated->finish_reason, "stop") << generated->text;
    EXPECT_TRUE(ways[i % ways.size()].is_valid(generated->text)) << requests[i].more << "\n"
                                                                 << generated->text;
    undisturbed.push_back(std::move(*generated));
  }
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
    const client::Generation& expected = undisturbed[record.request];
    EXPECT_EQ(record.error, "") << requests[record.request].more;
    EXPECT_EQ(record.generation.token_ids, expected.token_ids) << requests[record.request].more;
    EXPECT_EQ(record.generation.text, expected.text) << requests[record.request].more;
    EXPECT_EQ(record.generation.finish_reason, "stop");
  }
}

json completion(const std::string& url, const json& more) {
  json body{{"prompt", "Once upon a time"}, {"max_tokens", 300}, {"seed", 3}};
  body.update(more);
  const auto answer = client::request(url, "POST", "/v1/completions", body.dump());
  CHECK(answer.has_value(), "{}", answer.error().message());
  return json::parse(answer->body);
}

TEST(Structures, EveryWayToAskIsHeldToAndABadOneIsRefusedByName) {
  const auto server = start(1);
  const auto text_of = [&](const json& more) {
    const json answer = completion(server->url(), more);
    CHECK(answer.contains("choices"), "{}: {}", more.dump(), answer.dump());
    return answer["choices"][0]["text"].get<std::string>();
  };
  EXPECT_TRUE(json::parse(text_of({{"response_format", {{"type", "json_object"}}}, {"temperature", 0}}),
                          nullptr, false)
                  .is_object());
  EXPECT_TRUE(are_people(
      text_of({{"response_format",
                {{"type", "json_schema"}, {"json_schema", {{"name", "people"}, {"schema", kPeople}}}}},
               {"max_tokens", 800}})));
  EXPECT_THAT(text_of({{"guided_choice", {"yes", "no", "maybe"}}}), testing::AnyOf("yes", "no", "maybe"));
  EXPECT_TRUE(
      std::regex_match(text_of({{"guided_regex", "[0-9]{3}-[0-9]{4}"}}), std::regex("[0-9]{3}-[0-9]{4}")));
  EXPECT_EQ(text_of({{"guided_grammar", "root ::= \"a\" \"b\"{3}"}}), "abbb");
  const json refused =
      completion(server->url(), {{"structured_outputs", {{"json", {{"not", json::object()}}}}}});
  EXPECT_EQ(refused["error"]["param"], "structured_outputs.json");
  EXPECT_THAT(refused["error"]["message"].get<std::string>(),
              HasSubstr("the keyword \"not\" is not supported"));
  const json two = completion(server->url(), {{"guided_regex", "a"}, {"guided_choice", {"b"}}});
  EXPECT_THAT(two["error"]["message"].get<std::string>(), HasSubstr("one of them"));
}

}  // namespace
}  // namespace concertina
