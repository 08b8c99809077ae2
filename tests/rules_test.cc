// Sampling rules and log-probabilities as a client sees them, on a real server with the demo model.
#include <set>

#include "tests/contract.h"

namespace concertina {
namespace {

json completion(const json& more) {
  json body{{"prompt", "The capital of France"}, {"temperature", 0}, {"max_tokens", 12}};
  body.update(more);
  return body;
}

class Rules : public Contract {
 protected:
  static json choice_of(const json& more) {
    const Answer answer = post("/v1/completions", completion(more));
    CHECK(answer.status == 200, "{}", answer.text);
    return answer.body["choices"][0];
  }
  // The choice's pieces of a stream, joined: its text and the lists of its logprobs.
  static json streamed(json body) {
    body["stream"] = true;
    json joined{{"text", ""}, {"logprobs", json::object()}};
    for (const std::string& event : events("/v1/completions", body)) {
      if (event == "[DONE]") continue;
      const json choice = json::parse(event)["choices"][0];
      joined["text"] = joined["text"].get<std::string>() + choice["text"].get<std::string>();
      if (choice["logprobs"].is_null()) continue;
      for (const auto& [name, list] : choice["logprobs"].items())
        for (const json& one : list) joined["logprobs"][name].push_back(one);
    }
    return joined;
  }
};

TEST_F(Rules, LogprobsAreTheSameStreamedAndWholeAndWithAndWithoutEcho) {
  const json plain = choice_of({{"logprobs", 3}}), echoed = choice_of({{"logprobs", 3}, {"echo", true}});
  const json stream = streamed(completion({{"logprobs", 3}, {"echo", true}}));
  EXPECT_EQ(stream["text"], echoed["text"]);
  EXPECT_EQ(stream["logprobs"], echoed["logprobs"]);
  EXPECT_EQ(echoed["text"], "The capital of France" + plain["text"].get<std::string>());
  const std::size_t n_prompt = 5;
  ASSERT_EQ(echoed["logprobs"]["tokens"].size(), n_prompt + plain["logprobs"]["tokens"].size());
  for (std::size_t i = 0; i < plain["logprobs"]["tokens"].size(); ++i)
    for (const char* list : {"tokens", "token_logprobs", "top_logprobs"})
      EXPECT_EQ(echoed["logprobs"][list][n_prompt + i], plain["logprobs"][list][i]);
  // Each token stands in the text where its offset says.
  const std::string text = echoed["text"];
  for (std::size_t i = 0; i + 1 < echoed["logprobs"]["tokens"].size(); ++i) {
    const std::string token = echoed["logprobs"]["tokens"][i];
    EXPECT_EQ(text.substr(echoed["logprobs"]["text_offset"][i], token.size()), token);
  }
}

// What lm-eval sends: a context and what may follow, in one prompt.
TEST_F(Rules, APromptIsScoredWithoutATokenAndAsItWouldHaveBeenGenerated) {
  const json generated = choice_of({{"logprobs", 1}});
  const std::string text = generated["text"];
  const json scored = choice_of(
      {{"prompt", "The capital of France" + text}, {"max_tokens", 0}, {"echo", true}, {"logprobs", 1}});
  EXPECT_EQ(scored["text"], "The capital of France" + text);
  EXPECT_EQ(scored["finish_reason"], "length");
  const json &of_prompt = scored["logprobs"], &of_answer = generated["logprobs"];
  const std::size_t n_answer = of_prompt["tokens"].size() - 5;  // without the eos
  ASSERT_GT(n_answer, 1u);
  EXPECT_TRUE(of_prompt["token_logprobs"][0].is_null());
  for (std::size_t i = 0; i < n_answer; ++i) {
    EXPECT_EQ(of_prompt["tokens"][5 + i], of_answer["tokens"][i]);
    EXPECT_EQ(of_prompt["token_logprobs"][5 + i], of_answer["token_logprobs"][i]) << "to the last bit";
    EXPECT_EQ(of_prompt["top_logprobs"][5 + i], of_answer["top_logprobs"][i]);
  }
  const Answer usage =
      post("/v1/completions", completion({{"max_tokens", 0}, {"echo", true}, {"logprobs", 1}}));
  EXPECT_EQ(usage.body["usage"]["completion_tokens"], 0);
}

TEST_F(Rules, ALongPromptsScoresDoNotDependOnWhatRunsBesideIt) {
  std::vector<int> prompt;
  for (int i = 0; i < 700; ++i) prompt.push_back(i * 131 % 4000);
  const json body{{"prompt", prompt}, {"max_tokens", 1}, {"temperature", 0}, {"prompt_logprobs", 4}};
  const json alone = post("/v1/completions", body).body["choices"][0]["prompt_logprobs"];
  ASSERT_EQ(alone.size(), 700u);
  harness::Load load(server->url(), harness::make_requests(3, 6, 200, 4000, 100),
                     harness::Load::Restart::kYes);
  load.wait_for_tokens(50);
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(post("/v1/completions", body).body["choices"][0]["prompt_logprobs"], alone);
}

TEST_F(Rules, AChatsLogprobsAreOfItsTokens) {
  json body = chat_body;
  body["logprobs"] = true, body["top_logprobs"] = 2, body["return_token_ids"] = true;
  const Answer answer = post("/v1/chat/completions", body);
  ASSERT_EQ(answer.status, 200) << answer.text;
  const json& choice = answer.body["choices"][0];
  ASSERT_EQ(choice["logprobs"]["content"].size(), choice["token_ids"].size());
  std::string text;
  for (const json& one : choice["logprobs"]["content"]) {
    EXPECT_EQ(one["top_logprobs"].size(), 2u);
    EXPECT_EQ(one["top_logprobs"][0]["logprob"], one["logprob"]) << "greedy";
    text += one["token"];
  }
  EXPECT_EQ(text, choice["message"]["content"].get<std::string>() + "<|im_end|>");
}

TEST_F(Rules, WhatIsForbiddenIsNotDrawn) {
  const json plain = choice_of({{"return_token_ids", true}});
  const std::string text = plain["text"];
  ASSERT_NE(text.find("Paris"), std::string::npos) << text;
  EXPECT_EQ(choice_of({{"bad_words", {"Paris"}}})["text"].get<std::string>().find("Paris"),
            std::string::npos);
  const int second = plain["token_ids"][1];
  const json biased =
      choice_of({{"logit_bias", {{std::to_string(second), -100}}}, {"return_token_ids", true}});
  EXPECT_NE(biased["token_ids"][1], second);
  const json forced = choice_of({{"allowed_token_ids", {17, 18}}, {"return_token_ids", true}});
  for (const json& id : forced["token_ids"]) EXPECT_TRUE(id == 17 || id == 18) << id;
}

TEST_F(Rules, MinTokensHoldsTheEndBack) {
  const json plain = choice_of({{"return_token_ids", true}}),
             longer = choice_of({{"min_tokens", 10}, {"return_token_ids", true}});
  ASSERT_LT(plain["token_ids"].size(), 10u) << "it ends by itself";
  EXPECT_GE(longer["token_ids"].size(), 10u);
}

TEST_F(Rules, PenaltiesKeepATextFromTurningInCircles) {
  const auto distinct = [](const json& choice) {
    std::set<int> ids;
    for (const json& id : choice["token_ids"]) ids.insert(id.get<int>());
    return ids.size();
  };
  const json more{{"max_tokens", 60}, {"ignore_eos", true}, {"return_token_ids", true}};
  json damped = more;
  damped["frequency_penalty"] = 2, damped["presence_penalty"] = 2;
  EXPECT_GT(distinct(choice_of(damped)), distinct(choice_of(more)));
}

TEST_F(Rules, WhereNothingIsLeftTheRequestFailsAndSaysSo) {
  const Answer answer =
      post("/v1/completions", completion({{"allowed_token_ids", {4095}}, {"min_tokens", 3}}));
  expect_error(answer, 400, "", "leaves no token");
  EXPECT_EQ(answer.body["error"]["code"], "no_token_allowed");
}

TEST_F(Rules, FieldsThatContradictAreNamed) {
  json chat = chat_body;
  chat["top_logprobs"] = 2;
  expect_error(post("/v1/chat/completions", chat), 400, "top_logprobs", "logprobs");
  expect_error(post("/v1/completions", completion({{"prompt_logprobs", 1}, {"stream", true}})), 400,
               "prompt_logprobs", "stream");
  expect_error(post("/v1/completions", completion({{"min_tokens", 13}})), 400, "min_tokens",
               "at most max_tokens");
}

}  // namespace
}  // namespace concertina
