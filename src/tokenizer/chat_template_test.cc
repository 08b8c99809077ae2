#include "tokenizer/chat_template.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tokenizer/tokenizer.h"

namespace concertina::tokenizer {
namespace {

using Json = nlohmann::ordered_json;
const std::filesystem::path kDemo = std::filesystem::path(CONCERTINA_SOURCE_DIR) / "models/demo";

TEST(DemoChatTemplate, GivesTheReferenceTextAndIdsForEveryGoldenChat) {
  const auto chats = Json::parse(std::ifstream(kDemo / "tokenizer_golden.json"))["chat"];
  ASSERT_EQ(chats.size(), 8u);
  const Tokenizer tokenizer = Tokenizer::load(kDemo).value();
  const ChatTemplate chat_template = ChatTemplate::load(kDemo).value();
  for (const auto& chat : chats) {
    const auto prompt = chat["add_generation_prompt"] ? GenerationPrompt::kAdd : GenerationPrompt::kNone;
    const auto text =
        chat_template.render({chat["messages"], prompt, tokenizer.special_tokens(), Json::object()}).value();
    EXPECT_EQ(text, chat["text"].get<std::string>());
    EXPECT_EQ(tokenizer.encode(text, AddSpecialTokens::kNo), chat["ids"].get<std::vector<TokenId>>());
  }
}

const std::filesystem::path kTestData =
    std::filesystem::path(CONCERTINA_SOURCE_DIR) / "src/tokenizer/testdata";

// The clock of the reference: 2026-03-05 14:07:09, a Thursday.
std::tm reference_time() {
  std::tm now{};
  now.tm_year = 126, now.tm_mon = 2, now.tm_mday = 5, now.tm_hour = 14, now.tm_min = 7, now.tm_sec = 9;
  now.tm_wday = 4, now.tm_yday = 63;
  return now;
}

// The reference failing means that we fail; its text, that we give the same.
void expect_as_reference(const Result<std::string>& result, const Json& reference, const std::string& what) {
  if (reference.contains("text")) {
    EXPECT_EQ(result ? *result : "error: " + result.error().message(), reference["text"].get<std::string>())
        << what;
  } else {
    EXPECT_FALSE(result.has_value()) << what << " gave: " << *result << "; reference: " << reference["error"];
  }
}

TEST(ChatTemplate, RendersExpressionsAndStatementsAsJinja2Does) {
  const auto reference = Json::parse(std::ifstream(kTestData / "jinja_cases.json"));
  ASSERT_GT(reference["cases"].size(), 200u);
  const Json no_messages = Json::array();
  for (const auto& c : reference["cases"]) {
    const auto source = c["template"].get<std::string>();
    const auto parsed = ChatTemplate::parse(source, "case");
    Json variables = reference["variables"];
    const auto result =
        parsed ? parsed->render({no_messages, GenerationPrompt::kNone, {}, variables, reference_time()})
               : Result<std::string>(fail(parsed.error()));
    expect_as_reference(result, c, source);
  }
}

TEST(ChatTemplate, RendersPublishedStylesOfTemplatesAsJinja2Does) {
  const auto reference = Json::parse(std::ifstream(kTestData / "jinja_cases.json"));
  ASSERT_GT(reference["chats"].size(), 200u);
  const SpecialTokens tokens{"<s>", "</s>", {}, {}};
  for (const auto& c : reference["chats"]) {
    const auto file = c["template_file"].get<std::string>();
    std::ifstream stream(kTestData / "templates" / file);
    const std::string source(std::istreambuf_iterator<char>(stream), {});
    const auto prompt = c["add_generation_prompt"] ? GenerationPrompt::kAdd : GenerationPrompt::kNone;
    const auto parsed = ChatTemplate::parse(source, file);
    ASSERT_TRUE(parsed) << parsed.error().message();
    expect_as_reference(parsed->render({c["messages"], prompt, tokens, c["variables"], reference_time()}), c,
                        file + " " + c["messages"].dump() + c["variables"].dump());
  }
}

Result<std::string> render_alone(const std::string& source) {
  const Json none = Json::array(), variables = Json::object();
  const auto parsed = ChatTemplate::parse(source, "t");
  if (!parsed) return fail(parsed.error());
  return parsed->render({none, GenerationPrompt::kNone, {}, variables});
}

std::string repeated(const std::string& text, int n) {
  std::string out;
  for (int i = 0; i < n; ++i) out += text;
  return out;
}

TEST(ChatTemplate, SaysInItsOwnWordsWhyItRefusesMessages) {
  const auto refused =
      render_alone("\n\n{% if true %}\n{{ raise_exception('roles must ' ~ 'alternate') }}{% endif %}");
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().is(TokenizerError::kTemplateRaised));
  EXPECT_EQ(refused.error().message(), "chat template: line 4: roles must alternate");
}

TEST(ChatTemplate, NamesTheLineWhereRenderingFails) {
  const std::pair<const char*, const char*> cases[] = {
      {"a\n\n{{ x.y }}", "chat template: line 3: 'x' is undefined"},
      {"{% set a = [1] %}\n{{ a + 'b' }}", "chat template: line 2: cannot apply + to a list and a string"},
      {"{{ 'a' | shout }}", "chat template: line 1: no filter is called \"shout\""},
      {"\n{{ 1 is shiny }}", "chat template: line 2: no test is called \"shiny\""},
      {"{{ f(\n1) }}", "chat template: line 1: 'f' is undefined"}};
  for (const auto& [source, message] : cases) {
    const auto result = render_alone(source);
    ASSERT_FALSE(result) << source;
    EXPECT_TRUE(result.error().is(TokenizerError::kTemplateInvalid));
    EXPECT_EQ(result.error().message(), message);
  }
}

// A template may come from anywhere: none may hang the process, exhaust its memory or its stack.
TEST(ChatTemplate, IsBoundedWhateverTheTemplateDoes) {
  const std::string cases[] = {
      "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
      "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{{ a }}{% endfor %}",
      "{% for i in range(9999) %}{% for a in ('é' * 8000000)[1:2] %}{% endfor %}{% endfor %}",
      "{{ range(10 ** 12) }}",
      "{{ 'ab' * 10 ** 12 }}",
      "{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
      "{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x.replace('', ns.x) %}{% "
      "endfor %}",
      "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
      "{% set ns = namespace(x=[1]) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}{% endfor %}",
      "{% set ns = namespace(x=[1]) %}{% for i in range(90) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ "
      "ns.x }}",
      "{% set ns = namespace() %}{% set ns.x = ns %}",
      "{% set ns = namespace() %}{% set ns.x = [ns] %}",
      "{% for i in range(999999) %}{{ '" + repeated("x", 1000) + "' }}{% endfor %}",
      "{{ " + repeated("(", 5000) + "1" + repeated(")", 5000) + " }}",
      "{{ " + repeated("[", 5000) + repeated("]", 5000) + " }}",
      "{{ 1" + repeated("+1", 5000) + " }}",
      "{{ " + repeated("-", 5000) + "1 }}",
      "{{ " + repeated("not ", 5000) + "1 }}",
      "{{ x" + repeated("|trim", 5000) + " }}",
      "{{ x" + repeated(".x", 5000) + " }}",
      "{{ " + repeated("1 if x else ", 5000) + "1 }}",
      repeated("{% if 1 %}", 5000) + repeated("{% endif %}", 5000),
      "{{ 10 ** 20 }}",
      "{{ -9223372036854775807 - 2 }}",
      "{{ (-9223372036854775807 - 1) // -1 }}",
  };
  for (const std::string& source : cases) {
    const auto result = render_alone(source);
    EXPECT_FALSE(result) << source.substr(0, 100);
    EXPECT_TRUE(result || result.error().is(TokenizerError::kTemplateInvalid) ||
                result.error().is(TokenizerError::kTemplateTooLong));
  }
  EXPECT_EQ(render_alone("{{ 1" + repeated("+1", 400) + " }}").value(), "401");
  EXPECT_EQ(render_alone("{{ " + repeated("(", 40) + "1" + repeated(")", 40) + " }}").value(), "1");
}

TEST(ChatTemplate, RefusesMessagesNestedTooDeep) {
  Json deep = 1;
  for (int i = 0; i < 5000; ++i) deep = Json::array({std::move(deep)});
  const Json variables = Json::object();
  const auto result =
      ChatTemplate::parse("x", "t").value().render({deep, GenerationPrompt::kNone, {}, variables});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message(), "chat template: JSON nested more than 100 deep");
}

}  // namespace
}  // namespace concertina::tokenizer
