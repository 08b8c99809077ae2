#include "server/openai/structure_fields.h"

#include "server/answer_fixture.h"

namespace concertina::server::openai {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Language = request::StructureLanguage;

class StructureFields : public AnswerTest {
 protected:
  request::Structure asked(const char* more) const {
    const auto parameters = parameters_of(Json::parse(more));
    EXPECT_TRUE(parameters) << more << ": " << parameters.error().message;
    EXPECT_TRUE(parameters->structure) << more;
    return parameters->structure.value_or(request::Structure{});
  }
  std::string refused(const char* more) const {
    const auto parameters = parameters_of(Json::parse(more));
    return parameters ? "taken" : parameters.error().param.value_or("-") + ": " + parameters.error().message;
  }
  TokenId id_of(const char* text) const { return tokenizer->token_to_id(text).value(); }
};

TEST_F(StructureFields, EachWayToAskComesToItsLanguageAndSource) {
  const struct {
    const char* body;
    Language language;
    const char* source;
  } cases[] = {
      {R"({"response_format": {"type": "json_object"}})", Language::kJsonObject, ""},
      {R"({"response_format": {"type": "json_object", "schema": {"type": "null"}}})", Language::kJsonSchema,
       R"({"type":"null"})"},
      {R"({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": true,
          "schema": {"type": "object", "properties": {"b": {}, "a": {}}}}}})",
       Language::kJsonSchema, R"({"type":"object","properties":{"b":{},"a":{}}})"},
      {R"({"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}})", Language::kJsonObject,
       ""},
      {R"({"structured_outputs": {"json": {"type": "null"}}})", Language::kJsonSchema, R"({"type":"null"})"},
      {R"({"structured_outputs": {"json": "{\"type\": \"null\"}"}})", Language::kJsonSchema,
       R"({"type": "null"})"},
      {R"({"structured_outputs": {"regex": "a+", "disable_any_whitespace": false}})", Language::kRegex, "a+"},
      {R"({"structured_outputs": {"choice": ["a", "b"]}})", Language::kChoice, R"(["a","b"])"},
      {R"({"structured_outputs": {"grammar": "root ::= \"a\""}})", Language::kEbnf, R"(root ::= "a")"},
      {R"({"structured_outputs": {"json_object": true}})", Language::kJsonObject, ""},
      {R"({"guided_json": {"type": "null"}})", Language::kJsonSchema, R"({"type":"null"})"},
      {R"({"guided_regex": "a+", "guided_decoding_backend": "xgrammar"})", Language::kRegex, "a+"},
      {R"({"guided_choice": ["a"]})", Language::kChoice, R"(["a"])"},
      {R"({"guided_grammar": "root ::= \"a\""})", Language::kEbnf, R"(root ::= "a")"},
      {R"({"json_schema": {"type": "null"}})", Language::kJsonSchema, R"({"type":"null"})"},
      {R"({"grammar": "root ::= \"a\""})", Language::kEbnf, R"(root ::= "a")"},
      {R"({"ebnf": "root ::= \"a\""})", Language::kEbnf, R"(root ::= "a")"},
      {R"({"regex": "a+"})", Language::kRegex, "a+"},
  };
  for (const auto& one : cases) {
    const request::Structure structure = asked(one.body);
    EXPECT_EQ(structure.language, one.language) << one.body;
    EXPECT_EQ(structure.source, one.source);
  }
}

TEST_F(StructureFields, WhatAsksForNothingHasNone) {
  for (const char* body :
       {R"({})", R"({"response_format": {"type": "text"}, "grammar": "", "guided_json": null})",
        R"({"structured_outputs": {}})", R"({"structured_outputs": {"json_object": false}})"}) {
    const auto parameters = parameters_of(Json::parse(body));
    ASSERT_TRUE(parameters) << parameters.error().message;
    EXPECT_FALSE(parameters->structure) << body;
  }
}

TEST_F(StructureFields, ABadOneIsRefusedWithTheFieldAndThePlace) {
  EXPECT_THAT(
      refused(R"({"response_format": {"type": "json_schema", "json_schema": {"schema":
      {"type": "object", "properties": {"a": {"not": {}}}}}}})"),
      testing::AllOf(HasSubstr("response_format.json_schema.schema: response_format.json_schema.schema: "),
                     HasSubstr("/properties/a"), HasSubstr("not")));
  EXPECT_THAT(refused(R"({"structured_outputs": {"regex": "a("}})"),
              testing::AllOf(HasSubstr("structured_outputs.regex: "), HasSubstr("at byte")));
  EXPECT_THAT(refused(R"({"guided_grammar": "root ::= foo"})"),
              HasSubstr("guided_grammar: guided_grammar: "));
  EXPECT_THAT(refused(R"({"response_format": {"type": "yaml"}})"), HasSubstr("response_format must be"));
  EXPECT_THAT(refused(R"({"response_format": "json_object"})"), HasSubstr("response_format must be"));
  EXPECT_THAT(refused(R"({"structured_outputs": {"jsn": {}}})"),
              HasSubstr("structured_outputs.jsn is not known"));
  EXPECT_THAT(refused(R"({"structured_outputs": {"choice": []}})"),
              HasSubstr("structured_outputs.choice must be a list of strings, not empty"));
  EXPECT_THAT(refused(R"({"guided_regex": "a", "structured_outputs": {"regex": "b"}})"),
              HasSubstr("guided_regex and another field"));
  EXPECT_THAT(refused(R"({"structured_outputs": {"regex": "b", "json": {}}})"),
              HasSubstr("structured_outputs.regex and another field"));
}

TEST_F(StructureFields, AModelThatThinksDoesSoBeforeItsStructureBegins) {
  choose("none", "none");
  EXPECT_THAT(asked(R"({"regex": "a"})").begins_after, IsEmpty());
  choose("hermes", "qwen3");  // the demo's tokenizer has no such tokens
  EXPECT_THAT(asked(R"({"regex": "a"})").begins_after, IsEmpty());
  chat_template = chat::ChatTemplate::parse("{{ messages[-1].content }}<think>\n", "t");
  const request::Structure open = asked(R"({"regex": "a"})");
  EXPECT_EQ(tokenizer->decode(open.begins_after, tokenizer::SkipSpecialTokens::kNo), "</think>");
  EXPECT_EQ(open.thought_begin, std::nullopt);
}

// Reading some sources takes a tenth of a second: the thread that carries streams leaves that to others.
TEST_F(StructureFields, OnTheLoopOnlyWhatIsKnownIsTaken) {
  ParseContext context{.model = model,
                       .tokenizer = &*tokenizer,
                       .chat_template = &*chat_template,
                       .formats = formats,
                       .structures = &structures};
  const auto check_of = [&](ParseContext::Place place, const std::string& regex) {
    context.place = place;
    const Json body{{"prompt", "a"}, {"regex", regex}};
    const auto parameters = prepare(Endpoint::kCompletions, body.dump(), context).parameters;
    EXPECT_TRUE(parameters) << parameters.error().message;
    return parameters->structure_check;
  };
  using Check = Parameters::StructureCheck;
  EXPECT_EQ(check_of(ParseContext::Place::kLoop, "ab"), Check::kPostponed);
  EXPECT_EQ(check_of(ParseContext::Place::kHelper, "ab"), Check::kDone);
  EXPECT_EQ(check_of(ParseContext::Place::kLoop, "ab"), Check::kDone);
  EXPECT_EQ(check_of(ParseContext::Place::kLoop, "ab("), Check::kPostponed) << "whatever is wrong with it";
}

TEST_F(StructureFields, ItGoesToTheFrontWithEachChoice) {
  const auto parameters = parameters_of(Json::parse(R"({"regex": "a", "n": 2})"));
  ASSERT_TRUE(parameters);
  RecordedAnswer answer;
  const auto generation = std::make_shared<Generation>(
      GenerationContext{service, &*tokenizer, formats, metrics, [](auto) {}}, front::ClientId(7), *parameters,
      std::make_shared<RecordingResponder>(answer), [](Generation*) {});
  generation->start();
  ASSERT_EQ(service.submitted.size(), 2u);
  for (const auto& submitted : service.submitted)
    EXPECT_EQ(submitted.structure, request::SharedStructure(*parameters->structure));
}

}  // namespace
}  // namespace concertina::server::openai
