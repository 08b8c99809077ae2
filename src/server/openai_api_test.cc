#include "server/openai/openai_api.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <nlohmann/json.hpp>

#include "server/generation_fixture.h"

namespace concertina::server::openai {
namespace {

TEST(OpenAiApi, WhatIsStillReadWhenTheServerEndsIsRefusedInTheWordsOfItsDialect) {
  boost::asio::io_context loop;
  HelperThreads helpers({.n_threads = 2}, [&loop](std::function<void()> function) {
    boost::asio::post(loop, std::move(function));
  });
  RecordingService service;
  Metrics metrics("demo");
  const AnswerFormats formats;
  OpenAiApi api(service, {service.model(), nullptr, nullptr, formats}, metrics, helpers, loop);
  RecordedAnswer chat, messages;
  const auto ask = [&](Endpoint endpoint, RecordedAnswer& answer) {
    http::Request request{.body = std::string(10'000, ' ') + "{}", .client = "c"};
    api.generate(endpoint, std::move(request), std::make_shared<RecordingResponder>(answer));
  };
  ask(Endpoint::kChat, chat);
  ask(Endpoint::kMessages, messages);
  api.refuse_unprepared();
  EXPECT_EQ(chat.status, 503);
  EXPECT_EQ(messages.status, 503);
  EXPECT_EQ(nlohmann::json::parse(chat.text)["error"]["code"], "shutting_down");
  const auto error = nlohmann::json::parse(messages.text);
  EXPECT_EQ(error["type"], "error");
  EXPECT_EQ(error["error"]["type"], "overloaded_error");
  loop.run();
  EXPECT_EQ(nlohmann::json::parse(messages.text), error) << "once";
}

}  // namespace
}  // namespace concertina::server::openai
