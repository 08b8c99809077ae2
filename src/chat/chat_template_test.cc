#include "chat/chat_template.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "chat/error.h"
#include "tokenizer/tokenizer.h"

namespace concertina::chat {
namespace {

using Json = nlohmann::ordered_json;
const std::filesystem::path kDemo = std::filesystem::path(CONCERTINA_SOURCE_DIR) / "models/demo";

TEST(DemoChatTemplate, GivesTheReferenceTextAndIdsForEveryGoldenChat) {
  const auto chats = Json::parse(std::ifstream(kDemo / "tokenizer_golden.json"))["chat"];
  ASSERT_EQ(chats.size(), 8u);
  const auto tokenizer = tokenizer::Tokenizer::load(kDemo).value();
  const ChatTemplate chat_template = ChatTemplate::load(kDemo).value();
  for (const auto& chat : chats) {
    const auto prompt = chat["add_generation_prompt"] ? GenerationPrompt::kAdd : GenerationPrompt::kNone;
    const auto text =
        chat_template.render({chat["messages"], prompt, tokenizer.special_tokens(), Json::object()}).value();
    EXPECT_EQ(text, chat["text"].get<std::string>());
    EXPECT_EQ(tokenizer.encode(text, tokenizer::AddSpecialTokens::kNo),
              chat["ids"].get<std::vector<TokenId>>());
  }
}

const std::filesystem::path kTestData = std::filesystem::path(CONCERTINA_SOURCE_DIR) / "src/chat/testdata";

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
  const tokenizer::SpecialTokens tokens{"<s>", "</s>", {}, {}};
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
  EXPECT_TRUE(refused.error().is(ChatError::kTemplateRaised));
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
    EXPECT_TRUE(result.error().is(ChatError::kTemplateInvalid));
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
    EXPECT_TRUE(result || result.error().is(ChatError::kTemplateInvalid) ||
                result.error().is(ChatError::kTemplateTooLong));
  }
  EXPECT_EQ(render_alone("{{ 1" + repeated("+1", 400) + " }}").value(), "401");
  EXPECT_EQ(render_alone("{{ " + repeated("(", 40) + "1" + repeated(")", 40) + " }}").value(), "1");
}

Result<std::string> render_history(const std::string& source, int n_messages) {
  Json messages = Json::array();
  for (int i = 0; i < n_messages; ++i)
    messages.push_back({{"role", i % 2 == 0 ? "user" : "assistant"}, {"content", "hi"}});
  const Json variables = Json::object();
  const auto parsed = ChatTemplate::parse(source, "t");
  if (!parsed) return fail(parsed.error());
  return parsed->render({messages, GenerationPrompt::kAdd, {}, variables});
}

// A step a mention, not a step an item: what a template says of its messages in their own loop is no work.
TEST(ChatTemplate, RendersLongHistories) {
  std::ifstream stream(kTestData / "templates/qwen3_style.jinja");
  const std::string qwen3(std::istreambuf_iterator<char>(stream), {});
  const auto text = render_history(qwen3, 20001);
  ASSERT_TRUE(text) << text.error().message();
  EXPECT_GT(text->size(), 20001 * 20u);
  const auto mentions = render_history(
      "{% for m in messages %}{% if messages|length > loop.index and messages[loop.index0].role == m.role "
      "and "
      "messages|first != m.content and (messages|last).role and messages[-1] is defined and messages is not "
      "string "
      "%}x{% endif %}{% endfor %}",
      20001);
  ASSERT_TRUE(mentions) << mentions.error().message();
  EXPECT_EQ(mentions->size(), 20000u);
}

TEST(ChatTemplate, GivesUpWhereATemplateWalksThroughAllMessagesForEach) {
  for (const char* source :
       {"{% for m in messages %}{% for n in messages %}{% endfor %}{% endfor %}",
        "{% for m in messages %}{{ messages[::-1][0].role }}{% endfor %}",
        "{% for m in messages %}{{ (messages + [m])|length }}{% endfor %}",
        "{% for m in messages %}{{ messages|tojson|length }}{% endfor %}",
        "{% for m in messages %}{{ 'x' in messages }}{% endfor %}",
        "{% for m in messages %}{{ messages|map(attribute='role')|list|length }}{% endfor %}"}) {
    const auto text = render_history(source, 10001);
    ASSERT_FALSE(text) << source;
    EXPECT_TRUE(text.error().is(ChatError::kTemplateTooLong)) << text.error().message();
  }
}

// Looked up in sorted keys: 20,000 keys of a client's object are no slower than a few.
TEST(ChatTemplate, FindsKeysOfLargeObjects) {
  Json arguments = Json::object();
  auto& members = static_cast<Json::object_t::Container&>(arguments.get_ref<Json::object_t&>());
  for (int i = 0; i < 20000; ++i) members.emplace_back("key " + std::to_string(i * 7919 % 20000), i);
  const Json messages = Json::array({{{"role", "user"}, {"arguments", arguments}}}),
             variables = Json::object();
  const auto parsed = ChatTemplate::parse(
      "{% set a = messages[0].arguments %}{% for k in a %}{% if a[k] == loop.index0 and k in a %}{% else "
      "%}no{% endif "
      "%}{% endfor %}{{ a['key 7919'] }} {{ a.missing is defined }}",
      "t");
  EXPECT_EQ(parsed.value().render({messages, GenerationPrompt::kNone, {}, variables}).value(), "1 False");
}

TEST(ChatTemplate, SaysWhoseFaultAFailureIs) {
  const tokenizer::SpecialTokens tokens;
  const Json odd = Json::array({{{"role", "user"}, {"content", 7}}}), variables = Json::object();
  const auto error = [&](const char* source) {
    return ChatTemplate::parse(source, "t")
        .value()
        .render({odd, GenerationPrompt::kAdd, tokens, variables})
        .error();
  };
  EXPECT_TRUE(error("{{ messages[0].content + 'x' }}").is(ChatError::kTemplateFailed));
  EXPECT_TRUE(error("{{ bos_token + messages[0].content }}").is(ChatError::kTemplateInvalid));
  EXPECT_TRUE(error("{{ raise_exception('no') }}").is(ChatError::kTemplateRaised));
}

TEST(ChatTemplate, FindsOutWhatShapeOfMessagesATemplateWants) {
  using Shape = MessageShape;
  const Json variables = Json::object();
  const auto shape = [&](const std::string& source) {
    return ChatTemplate::parse(source, "t").value().shape(variables);
  };
  const auto calls = [](const std::string& what) {
    return "{% for m in messages %}{% for c in m.tool_calls or [] %}{{ c.function.name }}" + what +
           "{% endfor %}{% endfor %}";
  };
  EXPECT_EQ(shape("{{ messages[0].content }}").arguments, Shape::Arguments::kUnknown);
  EXPECT_EQ(shape(calls("{{ c.function.arguments | tojson }}")).arguments, Shape::Arguments::kObject);
  EXPECT_EQ(shape(calls("{% for k, v in c.function.arguments|items %}{{ k, v }}{% endfor %}")).arguments,
            Shape::Arguments::kObject);
  EXPECT_EQ(shape(calls("{{ '```' + c.function.arguments }}")).arguments, Shape::Arguments::kText);
  EXPECT_EQ(shape("{{ messages[0].content }}").content, Shape::Content::kText);
  EXPECT_EQ(shape("{% for c in messages[0].content %}{{ c }}{% endfor %}").content, Shape::Content::kText);
  EXPECT_EQ(
      shape("{% macro show(content) %}{% if content is string %}{{ content }}{% else %}{% for c in content | "
            "list %}{{ c.text }}{% endfor %}{% endif %}{% endmacro %}{{ show(messages[0].content) }}")
          .content,
      Shape::Content::kTextOrParts);
  EXPECT_EQ(
      shape("{% set x = messages[0]['content'] %}{% for c in x[0:] %}{{ c['text'] }}{% endfor %}").content,
      Shape::Content::kParts);
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
}  // namespace concertina::chat
