// The HTTP contract for clients, on a real server: fields, status codes, framing.
#include "tests/contract.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace concertina {
namespace {

// Sends a request, closes the sending side and reads to the end, as `nc -N` does.
std::string half_closed(const std::string& url, const std::string& body) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1))));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  const std::string request =
      "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: "
      "application/json\r\nContent-Length: " +
      std::to_string(body.size()) + "\r\n\r\n" + body;
  CHECK(write(fd, request.data(), request.size()) == static_cast<ssize_t>(request.size()));
  shutdown(fd, SHUT_WR);
  std::string answer;
  char piece[4096];
  for (ssize_t n = 0; (n = read(fd, piece, sizeof(piece))) > 0;)
    answer.append(piece, static_cast<std::size_t>(n));
  close(fd);
  return answer;
}

TEST_F(Contract, AnswersAChat) {
  const Answer answer = post("/v1/chat/completions", chat_body);
  ASSERT_EQ(answer.status, 200) << answer.text;
  EXPECT_EQ(answer.body["object"], "chat.completion");
  EXPECT_EQ(answer.body["model"], "demo");
  EXPECT_EQ(answer.body["choices"][0]["message"]["role"], "assistant");
  EXPECT_EQ(answer.body["choices"][0]["message"]["content"], "The capital of France is Paris.");
  EXPECT_EQ(answer.body["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(answer.body["usage"]["total_tokens"], answer.body["usage"]["prompt_tokens"].get<int>() +
                                                      answer.body["usage"]["completion_tokens"].get<int>());
  EXPECT_FALSE(answer.body["choices"][0].contains("token_ids"));
}

TEST_F(Contract, StreamsAChatInOpenAisFraming) {
  json body = chat_body;
  body["stream"] = true;
  body["stream_options"] = {{"include_usage", true}};
  body["return_token_ids"] = true;
  const auto data = events("/v1/chat/completions", body);
  ASSERT_GE(data.size(), 4u);
  EXPECT_EQ(data.back(), "[DONE]");
  const json first = json::parse(data[0]), last = json::parse(data[data.size() - 3]),
             usage = json::parse(data[data.size() - 2]);
  EXPECT_EQ(first["object"], "chat.completion.chunk");
  EXPECT_EQ(first["choices"][0]["delta"], (json{{"role", "assistant"}, {"content", ""}}));
  EXPECT_FALSE(first["choices"][0]["prompt_token_ids"].empty());
  EXPECT_EQ(last["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(usage["choices"], json::array());
  std::string text;
  std::size_t n_ids = 0;
  for (std::size_t i = 0; i + 2 < data.size(); ++i) {
    const json chunk = json::parse(data[i]);
    EXPECT_TRUE(chunk["usage"].is_null());
    EXPECT_EQ(chunk["id"], first["id"]);
    text += chunk["choices"][0]["delta"].value("content", "");
    n_ids += chunk["choices"][0]["token_ids"].size();
    if (i > 0) {
      EXPECT_FALSE(chunk["choices"][0].contains("prompt_token_ids")) << "once, in the first";
    }
  }
  EXPECT_EQ(text, "The capital of France is Paris.");
  EXPECT_EQ(usage["usage"]["completion_tokens"], n_ids);
}

// A body that is read beside the loop, too: there it is not known yet whether it asks for a stream.
TEST_F(Contract, AClientThatClosedItsSendingSideGetsItsStream) {
  for (const std::size_t n_padding : {0, 5000}) {
    const json body{{"prompt", {1, 2, 3}}, {"max_tokens", 20}, {"ignore_eos", true},
                    {"stream", true},      {"temperature", 0}, {"user", std::string(n_padding, 'u')}};
    const std::string answer = half_closed(server->url(), body.dump());
    EXPECT_THAT(answer, HasSubstr("data: [DONE]")) << n_padding;
    EXPECT_THAT(answer, HasSubstr("\"finish_reason\":\"length\"")) << n_padding;
  }
}

TEST_F(Contract, PromptsComeInFourShapesAndChoicesAreNumberedThrough) {
  const json two = {{"prompt", {"The king", "A ship"}}, {"n", 2}, {"max_tokens", 4}, {"seed", 7}};
  const Answer answer = post("/v1/completions", two);
  ASSERT_EQ(answer.status, 200) << answer.text;
  ASSERT_EQ(answer.body["choices"].size(), 4u);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(answer.body["choices"][i]["index"], i);
  EXPECT_EQ(answer.body["object"], "text_completion");
  const Answer again = post("/v1/completions", two);
  for (int i = 0; i < 4; ++i)
    EXPECT_EQ(answer.body["choices"][i]["text"], again.body["choices"][i]["text"]) << "the same seed";
  const Answer ids =
      post("/v1/completions", {{"prompt", {{5, 6, 7}, {8}}}, {"max_tokens", 2}, {"return_token_ids", true}});
  ASSERT_EQ(ids.body["choices"].size(), 2u) << ids.text;
  EXPECT_EQ(ids.body["choices"][1]["prompt_token_ids"], json({8}));
  EXPECT_EQ(ids.body["choices"][0]["token_ids"].size(), 2u);
  EXPECT_EQ(post("/v1/completions", {{"prompt", {5, 6}}, {"max_tokens", 1}}).status, 200);
}

TEST_F(Contract, StopsAtStringsWithoutShowingAnyPartOfThem) {
  const json base = {
      {"prompt", "It was a dark and stormy night, and the old man"}, {"temperature", 0}, {"max_tokens", 40}};
  const std::string whole = post("/v1/completions", base).body["choices"][0]["text"];
  ASSERT_THAT(whole, HasSubstr("bad night"));
  json stopped = base;
  stopped["stop"] = {"d night. He", "zzz"};
  for (const bool stream : {false, true}) {
    stopped["stream"] = stream;
    std::string text, reason;
    if (stream) {
      for (const std::string& data : events("/v1/completions", stopped)) {
        if (data == "[DONE]") continue;
        const json choice = json::parse(data)["choices"][0];
        text += choice["text"].get<std::string>();
        if (!choice["finish_reason"].is_null()) reason = choice["finish_reason"];
      }
    } else {
      const json choice = post("/v1/completions", stopped).body["choices"][0];
      text = choice["text"], reason = choice["finish_reason"];
    }
    EXPECT_EQ(text, whole.substr(0, whole.find("d night. He")));
    EXPECT_EQ(reason, "stop");
  }
}

TEST_F(Contract, IgnoreEosGoesOnAndStopTokenIdsEnd) {
  json body = chat_body;
  body["ignore_eos"] = true;
  body["max_tokens"] = 30;
  body["return_token_ids"] = true;
  const json choice = post("/v1/chat/completions", body).body["choices"][0];
  EXPECT_EQ(choice["token_ids"].size(), 30u);
  EXPECT_EQ(choice["finish_reason"], "length");
  const json& ids = choice["token_ids"];
  EXPECT_NE(std::find(ids.begin(), ids.end(), json(4095)), ids.end()) << "the eos stays among them";
  body["stop_token_ids"] = {ids[3]};
  EXPECT_LE(post("/v1/chat/completions", body).body["choices"][0]["token_ids"].size(), 4u);
}

TEST_F(Contract, BadFieldsAreNamed) {
  const auto completion = [](json more) {
    json body = {{"prompt", "x"}};
    body.update(more);
    return post("/v1/completions", body);
  };
  expect_error(completion({{"max_tokens", -1}}), 400, "max_tokens", "an integer in 0..");
  expect_error(completion({{"max_tokens", "4"}}), 400, "max_tokens", "found \"4\"");
  expect_error(completion({{"temperature", -1}}), 400, "temperature", "0..");
  expect_error(completion({{"top_p", 1.5}}), 400, "top_p", "a number in 0..1");
  expect_error(completion({{"n", 0}}), 400, "n", "integer");
  expect_error(post("/v1/completions", {{"prompt", std::vector(2000, std::vector{5})}}), 400, "n",
               "2000 requests");
  expect_error(call("POST", "/v1/completions",
                    "{\"prompt\":" + std::string(100000, '[') + std::string(100000, ']') + "}"),
               400, "", "nested");
  expect_error(completion({{"stop", {1}}}), 400, "stop", "string");
  expect_error(completion({{"seed", 1.5}}), 400, "seed", "integer");
  expect_error(completion({{"stream", 1}}), 400, "stream", "true or false");
  expect_error(completion({{"logprobs", 21}}), 400, "logprobs", "0..20");
  expect_error(completion({{"echo", 1}}), 400, "echo", "true or false");
  expect_error(completion({{"stream_options", {{"include_usage", true}}}}), 400, "stream_options", "stream");
  expect_error(completion({{"prompt", json::array()}}), 400, "prompt", "list");
  expect_error(completion({{"prompt", {1, 99999}}}), 400, "prompt", "0..4095");
  expect_error(completion({{"prompt", std::vector<int>(1024, 5)}}), 400, "prompt", "1024 tokens");
  expect_error(completion({{"prompt", std::string(3 << 20, ' ')}}), 400, "prompt", "has 3145728 bytes");
  expect_error(completion({{"model", "other"}}), 404, "model", "does not exist");
  EXPECT_EQ(
      completion({{"model", "demo"}, {"max_tokens", 1}, {"frobnicate", 1}, {"logprobs", nullptr}}).status,
      200);
  json chat = chat_body;
  chat["tools"] = {{{"type", "function"}}};
  expect_error(post("/v1/chat/completions", chat), 400, "tools[0].function", "must be an object");
  expect_error(post("/v1/chat/completions", {{"messages", {{{"role", "user"}}}}}), 400, "messages[0].content",
               "string");
  expect_error(post("/v1/chat/completions", json::object()), 400, "messages", "list");
  expect_error(call("POST", "/v1/completions", "{\"prompt\": "), 400, "", "not JSON");
  expect_error(call("POST", "/v1/completions", "[]"), 400, "", "object");
  expect_error(call("GET", "/v1/completions"), 405, "", "allowed: POST");
  expect_error(call("GET", "/nothing"), 404, "", "/nothing");
  expect_error(call("POST", "/v1/completions", std::string(5 << 20, ' ')), 413, "",
               "at most 4194304 bytes (--max-body-bytes)");
}

}  // namespace
}  // namespace concertina
