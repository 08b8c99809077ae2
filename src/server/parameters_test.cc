#include "server/openai/parameters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace concertina::server::openai {
namespace {

using json = Json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A model without a tokenizer whose generation_config.json asks for sampling.
class ParametersTest : public ::testing::Test {
 protected:
  ApiResult<Parameters> parse(const json& body) {
    unknown.clear();
    // As it arrives: what is not negative is unsigned.
    return parse_parameters(Endpoint::kCompletions, *Fields::parse(body.dump()),
                            {model, nullptr, nullptr, formats}, unknown);
  }
  Parameters parsed(const json& more) {
    json body{{"prompt", {1, 2}}};
    if (more.is_object()) body.update(more);
    auto parameters = parse(body);
    EXPECT_TRUE(parameters) << parameters.error().message;
    return *parameters;
  }

  AnswerFormats formats;
  front::ModelInfo model{.served_name = "demo",
                         .max_model_len = 64,
                         .vocab_size = 100,
                         .eos_token_ids = {3},
                         .default_sampling = {.temperature = 0.6f, .top_k = 20, .top_p = 0.9f}};
  std::vector<std::string> unknown;
};

TEST_F(ParametersTest, WhatIsAbsentOrNullIsTheCheckpointsDefault) {
  for (const Parameters& absent : {parsed({}), parsed({{"temperature", nullptr}, {"top_k", nullptr}})}) {
    EXPECT_EQ(absent.sampling.temperature, 0.6f);
    EXPECT_EQ(absent.sampling.top_k, 20);
    EXPECT_EQ(absent.sampling.top_p, 0.9f);
    EXPECT_EQ(absent.stop.max_tokens, 16u);
    EXPECT_THAT(absent.stop.eos_token_ids, ElementsAre(3));
    EXPECT_EQ(absent.n, 1u);
  }
}

TEST_F(ParametersTest, WhatIsSetCounts) {
  const Parameters set = parsed({{"temperature", 0},
                                 {"top_k", -1},
                                 {"top_p", 0.5},
                                 {"min_p", 0.1},
                                 {"seed", -5},
                                 {"max_tokens", 7},
                                 {"n", 3},
                                 {"ignore_eos", true},
                                 {"stop_token_ids", {4, 5}}});
  EXPECT_EQ(set.sampling.temperature, 0.0f);
  EXPECT_EQ(set.sampling.top_k, 0) << "-1 means all, as 0 does here";
  EXPECT_EQ(set.sampling.top_p, 0.5f);
  EXPECT_EQ(set.sampling.min_p, 0.1f);
  EXPECT_EQ(set.sampling.seed, static_cast<std::uint64_t>(-5));
  EXPECT_EQ(set.stop.max_tokens, 7u);
  EXPECT_EQ(set.n, 3u);
  EXPECT_TRUE(set.stop.ignore_eos);
  EXPECT_THAT(set.stop.stop_token_ids, ElementsAre(4, 5));
}

TEST_F(ParametersTest, RulesAndWhatIsToldAreTaken) {
  model.default_sampling.repetition_penalty = 1.25f;
  EXPECT_EQ(parsed({}).sampling.repetition_penalty, 1.25f) << "the checkpoint's";
  EXPECT_EQ(parsed({{"repetition_penalty", 1}}).sampling.repetition_penalty, 1.0f);
  model.priorities = front::ModelInfo::Priorities::kServed;
  const Parameters set = parsed({{"presence_penalty", -0.5},
                                 {"frequency_penalty", 2},
                                 {"logit_bias", {{"7", -100}, {"3", 1.5}, {"07", 4}}},
                                 {"allowed_token_ids", {9, 7, 9}},
                                 {"min_tokens", 4},
                                 {"logprobs", 0},
                                 {"prompt_logprobs", 2},
                                 {"priority", -3}});
  EXPECT_EQ(set.sampling.presence_penalty, -0.5f);
  EXPECT_EQ(set.sampling.frequency_penalty, 2.0f);
  EXPECT_THAT(set.rules.logit_bias, ElementsAre(request::TokenBias{3, 1.5f}, request::TokenBias{7, -100.0f}));
  EXPECT_THAT(set.rules.allowed_token_ids, ElementsAre(7, 9));
  EXPECT_EQ(set.stop.min_tokens, 4u);
  EXPECT_EQ(set.logprobs.n_top, 0u);
  EXPECT_EQ(set.logprobs.n_prompt_top, 2u);
  EXPECT_EQ(set.priority, -3);
  EXPECT_EQ(parsed({{"logit_bias", json::array()}}).rules, request::TokenRules{}) << "some clients' none";
  EXPECT_EQ(parsed({}).logprobs, request::LogprobParams{});
}

TEST_F(ParametersTest, APromptIsCutToItsEnd) {
  const json six{1, 2, 3, 4, 5, 6};
  EXPECT_THAT(parsed({{"prompt", six}, {"truncate_prompt_tokens", 2}}).prompts[0], ElementsAre(5, 6));
  EXPECT_EQ(parsed({{"prompt", six}, {"truncate_prompt_tokens", 9}}).prompts[0].size(), 6u);
  const json many = std::vector<int>(100, 5);
  EXPECT_EQ(parsed({{"prompt", many}, {"truncate_prompt_tokens", -1}, {"max_tokens", 10}}).prompts[0].size(),
            54u)
      << "of 64, the answer's 10 left";
  EXPECT_EQ(parsed({{"prompt", many}, {"truncate_prompt_tokens", -1}, {"max_tokens", 999}}).prompts[0].size(),
            63u);
}

TEST_F(ParametersTest, UsageComesWithEveryChunkWhereBothAreAsked) {
  const json both{{"include_usage", true}, {"continuous_usage_stats", true}},
      one{{"continuous_usage_stats", true}};
  EXPECT_EQ(parsed({{"stream", true}, {"stream_options", both}}).output.continuous_usage,
            ContinuousUsage::kYes);
  EXPECT_EQ(parsed({{"stream", true}, {"stream_options", one}}).output.continuous_usage,
            ContinuousUsage::kNo);
}

TEST_F(ParametersTest, AbsentSeedsDiffer) {
  EXPECT_NE(parsed({}).sampling.seed, parsed({}).sampling.seed) << "drawn from the system, 64 bits";
}

TEST_F(ParametersTest, ASeedOfMinusOneIsNone) {
  EXPECT_NE(parsed({{"seed", -1}}).sampling.seed, parsed({{"seed", -1}}).sampling.seed);
}

TEST_F(ParametersTest, WhatOpenAiAllowsIsTaken) {
  EXPECT_GT(parsed({{"top_p", 0}}).sampling.top_p, 0.0f) << "the most likely token alone";
  EXPECT_EQ(parsed({{"max_tokens", 0}}).stop.max_tokens, 0u);
  EXPECT_EQ(parsed({{"n", 2.0}, {"best_of", 1.0}, {"stream_options", nullptr}}).n, 2u);
}

TEST_F(ParametersTest, StopTokenIdsCountOnceAndAreBounded) {
  EXPECT_THAT(parsed({{"stop_token_ids", {9, 4, 9, 4}}}).stop.stop_token_ids, ElementsAre(4, 9));
  model.vocab_size = 2000;
  json ids = json::array();
  for (int i = 0; i < 1025; ++i) ids.push_back(i), ids.push_back(i);
  EXPECT_THAT(parse({{"prompt", {1}}, {"stop_token_ids", ids}}).error().message,
              HasSubstr("stop_token_ids has 1025 different ids; it must have at most 1024"));
}

TEST_F(ParametersTest, WhatWouldShapeTheOutputAndIsNotBuiltIsRefusedByName) {
  const struct {
    json field;
    const char* param;
  } cases[] = {{{{"stop_regex", "a"}}, "stop_regex"},
               {{{"n_predict", 4}}, "n_predict"},
               {{{"prompt_embeds", "x"}}, "prompt_embeds"},
               {{{"structural_tag", "{}"}}, "structural_tag"}};
  for (const auto& test : cases) {
    json body{{"prompt", {1}}};
    body.update(test.field);
    const auto parameters = parse(body);
    ASSERT_FALSE(parameters) << body;
    EXPECT_EQ(parameters.error().param, test.param);
    EXPECT_EQ(parameters.error().code, "unsupported_parameter");
  }
  parsed({{"stream", true}, {"stream_options", {{"include_obfuscation", false}, {"frobnicate", 1}}}});
  EXPECT_THAT(unknown, ElementsAre("stream_options.frobnicate"));
}

TEST_F(ParametersTest, AStructureNeedsATokenizer) {
  EXPECT_EQ(parse({{"prompt", {1}}, {"regex", "a+"}}).error().message,
            "regex needs a tokenizer, which this model has not");
}

TEST_F(ParametersTest, MoreTokensThanTheModelHoldsIsNoError) {
  EXPECT_EQ(parsed({{"max_tokens", INT64_MAX}}).stop.max_tokens, 64u);
}

TEST(FieldsTest, WhatIsNestedTooDeepDoesNotGetIn) {
  const auto nested = [](std::size_t n) {
    return Fields::parse("{\"x\":" + std::string(n, '[') + std::string(n, ']') + "}");
  };
  EXPECT_TRUE(nested(Fields::kMaxDepth - 1));
  EXPECT_EQ(nested(Fields::kMaxDepth).error().status, 400);
  EXPECT_EQ(nested(1000000).error().status, 400);
  EXPECT_TRUE(Fields::parse(R"({"x": "[[[[\\\"[[["})")) << "brackets in a string";
  EXPECT_THAT(Fields::parse("{\"x\": ").error().message, ::testing::Not(HasSubstr("json.exception")));
}

TEST_F(ParametersTest, FieldsNobodyKnowsAreListedNotRefused) {
  parsed({{"frobnicate", 1}, {"user", "me"}});
  EXPECT_THAT(unknown, ElementsAre("frobnicate"));
}

TEST_F(ParametersTest, WithoutATokenizerTextIsRefusedWithAReason) {
  EXPECT_THAT(parse({{"prompt", "text"}}).error().message, HasSubstr("no tokenizer"));
  EXPECT_THAT(parse({{"prompt", {1}}, {"stop", "x"}}).error().message, HasSubstr("stop_token_ids"));
}

TEST_F(ParametersTest, TheFirstThingWrongIsNamed) {
  const struct {
    json body;
    const char* param;
  } cases[] = {{{{"prompt", {100}}}, "prompt"},
               {{{"prompt", {-1}}}, "prompt"},
               {{{"prompt", {{1}, json::array()}}}, "prompt"},
               {{{"prompt", {1}}, {"temperature", 1e300}}, "temperature"},
               {{{"prompt", {1}}, {"top_k", 1e12}}, "top_k"},
               {{{"prompt", {1}}, {"n", 129}}, "n"},
               {{{"prompt", {1}}, {"stop_token_ids", {100}}}, "stop_token_ids"},
               {{{"prompt", {1}}, {"stream", true}, {"stream_options", {{"include_usage", 1}}}},
                "stream_options.include_usage"},
               {{{"prompt", {1}}, {"frequency_penalty", 2.5}}, "frequency_penalty"},
               {{{"prompt", {1}}, {"presence_penalty", -2.5}}, "presence_penalty"},
               {{{"prompt", {1}}, {"repetition_penalty", 0}}, "repetition_penalty"},
               {{{"prompt", {1}}, {"min_tokens", 17}}, "min_tokens"},
               {{{"prompt", {1}}, {"logit_bias", {{"100", 1}}}}, "logit_bias"},
               {{{"prompt", {1}}, {"logit_bias", {{"-1", 1}}}}, "logit_bias"},
               {{{"prompt", {1}}, {"logit_bias", {{"7", 101}}}}, "logit_bias"},
               {{{"prompt", {1}}, {"logit_bias", {7}}}, "logit_bias"},
               {{{"prompt", {1}}, {"allowed_token_ids", json::array()}}, "allowed_token_ids"},
               {{{"prompt", {1}}, {"allowed_token_ids", {100}}}, "allowed_token_ids"},
               {{{"prompt", {1}}, {"bad_words", {"x"}}}, "bad_words"},
               {{{"prompt", {1}}, {"logprobs", 21}}, "logprobs"},
               {{{"prompt", {1}}, {"logprobs", -1}}, "logprobs"},
               {{{"prompt", {1}}, {"prompt_logprobs", -1}}, "prompt_logprobs"},
               {{{"prompt", {1}}, {"prompt_logprobs", 1}, {"stream", true}}, "prompt_logprobs"},
               {{{"prompt", {1}}, {"echo", true}}, "echo"},
               {{{"prompt", {1}}, {"truncate_prompt_tokens", 0}}, "truncate_prompt_tokens"},
               {{{"prompt", {1}}, {"truncate_prompt_tokens", 64}}, "truncate_prompt_tokens"},
               {{{"prompt", {1}}, {"priority", 1.5}}, "priority"},
               {{{"prompt", {1}}, {"priority", 1}}, "priority"}};
  for (const auto& test : cases) {
    const auto parameters = parse(test.body);
    ASSERT_FALSE(parameters) << test.body;
    EXPECT_EQ(parameters.error().status, 400);
    EXPECT_EQ(parameters.error().param, test.param);
  }
  EXPECT_EQ(parse({{"prompt", {1}}, {"model", "other"}}).error().status, 404);
}

TEST_F(ParametersTest, AnAnswerHasABoundOfLogprobsHoweverTheyAddUp) {
  // 5 tokens of prompt and 59 of answer, 21 each, for 24 prompts and 128 choices: 4,128,768; one prompt more:
  // 4,300,800.
  const auto of = [this](std::size_t n_prompts) {
    return parse({{"prompt", std::vector<std::vector<int>>(n_prompts, {1, 2, 3, 4, 5})},
                  {"n", 128},
                  {"max_tokens", 1000},
                  {"logprobs", 20},
                  {"prompt_logprobs", 20}});
  };
  EXPECT_TRUE(of(24));
  ASSERT_FALSE(of(25));
  EXPECT_EQ(of(25).error().param, "prompt_logprobs");
  EXPECT_THAT(of(25).error().message, HasSubstr("4300800 log-probabilities, at most 4194304"));
}

}  // namespace
}  // namespace concertina::server::openai
