// Clients that refer to items of an earlier response by id, as some do by default.
#include "server/dialects/kept_items.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/dialects/responses_request.h"
#include "server/dialects/responses_writer.h"

namespace concertina::server::dialects {
namespace {

using ::testing::HasSubstr;

Json item(const std::string& id, std::size_t n_bytes) {
  return {{"id", id}, {"type", "message"}, {"role", "assistant"}, {"content", std::string(n_bytes, 'x')}};
}

std::string referring_to(const std::string& id, std::size_t n_times = 1) {
  std::string items = R"({"role": "user", "content": "Hi"})";
  for (std::size_t i = 0; i < n_times; ++i)
    items += fmt::format(R"(, {{"type": "item_reference", "id": "{}"}})", id);
  return R"({"input": [)" + items + "]}";
}

TEST(KeptItems, OfAResponseAreReadAsIfTheyHadBeenSent) {
  const auto kept = std::make_shared<KeptItems>();
  ResponsesWriter writer(std::make_shared<const std::string>(), "m", kept);
  tools::Events events(3);
  events[0] = {.kind = tools::Event::Kind::kReasoning, .text = "Hm."};
  events[1] = {.kind = tools::Event::Kind::kContent, .text = "Hello."};
  events[2] = {.kind = tools::Event::Kind::kCallBegin, .text = "f", .call_id = "call_1"};
  openai::AnswerParts parts;
  for (const tools::Event& event : events) parts.add(event);
  parts.add({.kind = tools::Event::Kind::kArguments, .text = "{}"});
  const openai::WholeChoice choice{parts, {"tool_calls", "null"}, "null", "null", {}, {}};
  const Json response = Json::parse(writer.whole({&choice, 1}, {}));
  Json whole{{"input", response["output"]}}, referred{{"input", Json::array()}};
  for (const Json& output : response["output"])
    referred["input"].push_back({{"type", "item_reference"}, {"id", output["id"]}});
  ASSERT_EQ(referred["input"].size(), 3u);
  const auto by_id = responses_to_chat(referred, kept.get());
  ASSERT_TRUE(by_id) << by_id.error().message;
  EXPECT_EQ(*by_id, *responses_to_chat(whole));
}

TEST(KeptItems, TheOldestGoAndTheirClientsAreTold) {
  KeptItems kept(2500);
  for (int i = 0; i < 4; ++i) kept.keep(item(fmt::format("msg_{}", i), 600));
  EXPECT_FALSE(kept.find("msg_1"));
  EXPECT_TRUE(kept.find("msg_2") && kept.find("msg_3"));
  kept.keep(item("msg_large", 2500));
  EXPECT_FALSE(kept.find("msg_large"));
  EXPECT_TRUE(kept.find("msg_2")) << "what can never be kept pushes nothing out";
  const auto refused = responses_to_chat(Json::parse(referring_to("msg_1")), &kept);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().status, 404);
  EXPECT_EQ(refused.error().code, "item_not_found");
  EXPECT_EQ(refused.error().param, "input[1]");
  EXPECT_THAT(refused.error().message, HasSubstr("\"msg_1\""));
}

TEST(KeptItems, AShortBodyCannotReferToGigabytes) {
  KeptItems kept;
  kept.keep(item("msg_1", 1 << 20));
  EXPECT_TRUE(responses_to_chat(Json::parse(referring_to("msg_1", 3)), &kept));
  const auto refused = responses_to_chat(Json::parse(referring_to("msg_1", 10'000)), &kept);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("more than 4194304 bytes"));
}

}  // namespace
}  // namespace concertina::server::dialects
