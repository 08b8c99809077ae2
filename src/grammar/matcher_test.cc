#include "grammar/matcher.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <rapidcheck/gtest.h>

#include "grammar/grammar_of.h"

namespace concertina::grammar {
namespace {

using testing::HasSubstr;

std::vector<std::uint64_t> mask_of(Matcher& matcher, const Vocabulary& vocabulary) {
  std::vector<std::uint64_t> mask(vocabulary.n_mask_words(), ~std::uint64_t{0});
  matcher.fill_mask(mask);
  return mask;
}

bool allows(const std::vector<std::uint64_t>& mask, TokenId token) {
  return (mask[token / 64] >> (token % 64)) & 1;
}

constexpr const char* kTree =
    R"({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "additionalProperties": false,
  "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
  "required": ["name"]}}})";

struct Source {
  Language language;
  const char* text;
};

const Source kSources[] = {
    {Language::kJsonObject, ""},
    {Language::kJsonSchema, kTree},
    {Language::kJsonSchema, "true"},
    {Language::kJsonSchema,
     R"({"type": "object", "properties": {"foo": {"type": "integer", "minimum": -12, "maximum": 345},
       "bar": {"enum": ["abc", "ab", null, 10]}, "baz": {"type": "string", "maxLength": 5}}, "required": ["baz"]})"},
    {Language::kJsonSchema,
     R"({"type": "array", "items": {"anyOf": [{"type": "string", "pattern": "^a+b?$"}, {"type": "number"},
       {"type": "object", "properties": {"foo": {"const": "a"}}, "required": ["foo"]},
       {"type": "object", "properties": {"foo": {"const": "b"}}, "required": ["foo"]}]}, "minItems": 1, "maxItems": 4})"},
    {Language::kJsonSchema, R"({"type": "string", "format": "date-time"})"},
    {Language::kJsonSchema, R"({"type": "string", "format": "email"})"},
    {Language::kRegex, "(a|ab|abc)+( the)?\\d{2,4}"},
    {Language::kRegex, "[^a-z]*\xC3\xA9?"},
    {Language::kEbnf,
     "root ::= sum\nsum ::= term ((\"+\" | \"-\") term)*\nterm ::= [0-9]+ | \"(\" sum \")\""},
    {Language::kEbnf,
     "root ::= pair  # as deep as it likes\npair ::= \"a\" pair \"b\" | \"ab\" | word pair?\nword ::= "
     "\"a\"+"},
    {Language::kChoice, R"(["the", "them", "true", "abc"])"},
    {Language::kFrames,
     R"({"schemas": [{"enum": ["ab", "foo"]}, {"type": "object"}], "frame": [{"up_to": ["the", "tree"]},
       {"some": {"any_of": [["\n", {"schema": 0}], {"schema": 1}]}, "between": ", "}, {"maybe": {"pattern": "b$"}}]})"},
    {Language::kFrames, R"({"frame": {"any_of": [{"without": ["abab", "ba\u20ac"]}, {"regex": "(ab)*c"}]}})"},
};

// The reference: each token on a copy of the state.
void expect_mask_as_of_single_tokens(Matcher& matcher, const Vocabulary& vocabulary, const Source& source) {
  const auto mask = mask_of(matcher, vocabulary);
  for (TokenId token = 0; token < static_cast<TokenId>(mask.size() * 64); ++token) {
    Matcher copy = matcher;
    ASSERT_EQ(copy.accept(token) == Matcher::Accepted::kYes, allows(mask, token))
        << source.text << ", token " << token;
  }
}

RC_GTEST_PROP(Matcher, MasksAreWhatSingleTokensSayAndEveryWalkCanEnd, (std::uint64_t seed)) {
  const Source& source = kSources[seed % std::size(kSources)];
  const auto grammar = grammar_of(source.language, source.text);
  const auto& vocabulary = grammar->vocabulary();
  Matcher matcher(grammar);
  std::string text;
  for (int step = 0; step < 40; ++step) {
    expect_mask_as_of_single_tokens(matcher, vocabulary, source);
    const auto mask = mask_of(matcher, vocabulary);
    std::vector<TokenId> allowed;
    for (TokenId token = 0; token < static_cast<TokenId>(vocabulary.vocab_size()); ++token)
      if (allows(mask, token)) allowed.push_back(token);
    RC_ASSERT(!allowed.empty() || matcher.is_complete());
    if (allowed.empty()) break;
    const TokenId token = allowed[*rc::gen::inRange<std::size_t>(0, allowed.size())];
    RC_ASSERT(matcher.accept(token) == Matcher::Accepted::kYes);
    text += vocabulary.bytes_of(token);
    if (matcher.is_complete()) RC_ASSERT(accepts(grammar, text));
  }
}

TEST(Matcher, StaysWhereItIsWhenATokenIsRefused) {
  Matcher matcher(grammar_of(Language::kJsonSchema, kTree));
  EXPECT_EQ(matcher.accept("{\"name\": 1"), Matcher::Accepted::kRefused);
  EXPECT_EQ(matcher.accept("{\"name\": \"a\", \"children\": [{\"name\": \"b\"}]}"), Matcher::Accepted::kYes);
  EXPECT_TRUE(matcher.is_complete());
}

TEST(Matcher, ForcesTheOnlyTokenThereIs) {
  const auto vocabulary =
      std::make_shared<const Vocabulary>(std::vector<std::string>{"y", "es", "n", "o"}, 4);
  Matcher matcher(*CompiledGrammar::compile(Language::kChoice, R"(["yes", "no"])", vocabulary));
  EXPECT_EQ(matcher.forced_token(mask_of(matcher, *vocabulary)), std::nullopt);
  matcher.accept(0);
  EXPECT_EQ(matcher.forced_token(mask_of(matcher, *vocabulary)), 1);
  matcher.accept(1);
  EXPECT_TRUE(matcher.is_complete());
  EXPECT_EQ(matcher.forced_token(mask_of(matcher, *vocabulary)), std::nullopt);
}

TEST(Matcher, GoesAsDeepAsTheTextDoes) {
  const auto grammar = grammar_of(Language::kJsonSchema, "true");
  const std::string open(20'000, '['), close(20'000, ']');
  EXPECT_TRUE(accepts(grammar, open + close));
  EXPECT_FALSE(accepts(grammar, open + close + "]"));
}

TEST(Matcher, MembersThatNothingNamesDoNotPassForThoseThatAreNamed) {
  const char* schema =
      R"({"properties": {"foo": {"type": "integer"}, "é": {"type": "integer"}, "a\"b": {"type": "integer"}}})";
  for (const char* good : {R"({"foo": 1, "fo": "x", "fooo": "y", "è": "x", "": 2})", R"({"a\"": "x"})",
                           R"({"é": 1})", R"({"a\"b": 3})"})
    EXPECT_TRUE(accepts(Language::kJsonSchema, schema, good)) << good;
  for (const char* bad : {R"({"foo": "x"})", R"({"f\u006fo": "x"})", R"({"é": "x"})", R"({"a\"b": "x"})",
                          R"({"a": 1, "foo": 1})"})
    EXPECT_FALSE(accepts(Language::kJsonSchema, schema, bad)) << bad;
}

TEST(Regex, IsTheWholeText) {
  EXPECT_TRUE(accepts(Language::kRegex, "^(yes|no){2}$", "yesno"));
  EXPECT_FALSE(accepts(Language::kRegex, "yes", "yes!"));
  EXPECT_TRUE(accepts(Language::kRegex, "[\xC3\xA4-\xC3\xBC]+?.", "\xC3\xB6\xE2\x82\xAC"));
  EXPECT_TRUE(accepts(Language::kRegex, "\\x41\\u{1F600}\\.{0,2}", "A\xF0\x9F\x98\x80.."));
  EXPECT_THAT(refusal(Language::kRegex, "a(?=b)"), HasSubstr("at byte 1: look-around"));
  EXPECT_THAT(refusal(Language::kRegex, "(a)\\1"), HasSubstr("at byte 3: \\1"));
  EXPECT_THAT(refusal(Language::kRegex, "a{3,2}"), HasSubstr("wrong way round"));
  EXPECT_THAT(refusal(Language::kRegex, "(a"), HasSubstr("a ( without a )"));
  EXPECT_THAT(refusal(Language::kRegex, "[a"), HasSubstr("a [ without a ]"));
}

TEST(Ebnf, SaysWhatIsWrong) {
  EXPECT_THAT(refusal(Language::kEbnf, "root ::= item"), HasSubstr("no rule \"item\""));
  EXPECT_THAT(refusal(Language::kEbnf, "start ::= \"a\""), HasSubstr("no rule \"root\""));
  EXPECT_THAT(refusal(Language::kEbnf, "root ::= root \"a\" | \"b\""),
              HasSubstr("root: the rule calls itself before any byte"));
  EXPECT_THAT(refusal(Language::kEbnf, "root ::= \"a\" root"), HasSubstr("there is no text"));
  EXPECT_THAT(refusal(Language::kEbnf, "root ::= \"a"),
              HasSubstr("at byte 11: a literal without its closing"));
}

TEST(Limits, AreNamed) {
  EXPECT_THAT(refusal(Language::kRegex, "((a{1000}){1000}){1000}"), HasSubstr("more than 400000 nodes"));
  EXPECT_THAT(refusal(Language::kRegex, "(a|b)*a(a|b){30}"), HasSubstr("more than 100000 states"));
  EXPECT_THAT(refusal(Language::kRegex, std::string(200, '(') + std::string(200, ')')),
              HasSubstr("deeper than 100"));
  EXPECT_THAT(refusal(Language::kRegex, std::string(300'000, 'a')), HasSubstr("at most 262144"));
  EXPECT_THAT(refusal(Language::kJsonSchema, std::string(300, '[') + std::string(300, ']')),
              HasSubstr("deeper than 100"));
  EXPECT_THAT(refusal(Language::kJsonSchema, R"({"type": "string", "maxLength": 1000000000})"),
              HasSubstr("more than 400000 nodes"));
}

TEST(Limits, BoundWhatShortSourcesAskFor) {
  // What matches nothing, four billion times.
  EXPECT_TRUE(accepts(Language::kEbnf, "root ::= \"\"{,4000000000} \"\"{3}{4000000000} \"a\"", "a"));
  EXPECT_THAT(refusal(Language::kRegex, "(" + std::string(1000, '|') + "){100000}"),
              HasSubstr("2000000 edges"));
  std::string optional;
  for (int i = 0; i < 4000; ++i) optional += {static_cast<char>('a' + i % 26), '?'};
  EXPECT_THAT(refusal(Language::kRegex, optional), HasSubstr("32000000 nodes in its states' sets"));
  // Two schemas that refer to each other, each with more to say of p.
  EXPECT_THAT(refusal(Language::kJsonSchema, R"({"$ref": "#/$defs/a", "$defs": {
      "a": {"$ref": "#/$defs/b", "properties": {"p": {"minLength": 1}}},
      "b": {"$ref": "#/$defs/a", "properties": {"p": {"minLength": 2}}}}})"),
              HasSubstr("come to more than 8000000 bytes"));
  std::string members, parts;
  for (int i = 0; i < 4000; ++i) {
    members += fmt::format("\"p{}\": {{}}, ", i);
    parts += fmt::format("{{\"minItems\": {}}}, ", i);
  }
  EXPECT_THAT(refusal(Language::kJsonSchema,
                      fmt::format(R"({{"properties": {{{}"z": {{}}}}, "anyOf": [{}{{}}]}})", members, parts)),
              HasSubstr("come to more than 8000000 bytes"));
}

// Each of 600 rules may end in front of each of 20,000 places: looking through them pair by pair took
// minutes.
TEST(Limits, BoundHowManyCallersAreReadOnWith) {
  std::string source = "root ::= (r0 \"b\"){20000}\n";
  for (int i = 0; i < 599; ++i) source += fmt::format("r{} ::= \"a\" r{}?\n", i, i + 1);
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += "aab";
  EXPECT_TRUE(accepts(Language::kEbnf, source + "r599 ::= \"a\"", text));
}

TEST(Schema, NamesTheKeywordAndItsPlace) {
  EXPECT_THAT(refusal(Language::kJsonSchema, R"({"properties": {"a/b": {"not": {}}}})"),
              HasSubstr("#/properties/a~1b: the keyword \"not\" is not supported"));
  EXPECT_THAT(refusal(Language::kJsonSchema, R"({"items": {"type": "strin"}})"),
              HasSubstr("#/items/type: one or more of null"));
  EXPECT_THAT(refusal(Language::kJsonSchema, R"({"$ref": "#/$defs/x"})"),
              HasSubstr("there is no such place"));
  EXPECT_THAT(refusal(Language::kJsonSchema, R"({"$ref": "#"})"), HasSubstr("there is no text"));
  EXPECT_THAT(refusal(Language::kJsonSchema, R"({"type": "string", "pattern": "a\\b"})"),
              HasSubstr("#/pattern: at byte 1: \\b"));
  EXPECT_THAT(refusal(Language::kJsonSchema, "{"), HasSubstr("not JSON"));
}

}  // namespace
}  // namespace concertina::grammar
