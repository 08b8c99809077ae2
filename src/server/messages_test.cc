#include "server/openai/messages.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "server/openai/message_reader.h"

namespace concertina::server::openai {
namespace {

using chat::ChatTemplate;
using chat::MessageShape;
using ::testing::HasSubstr;
using ::testing::Not;

// A chat as a client sends it, with a template and the demo model's tokenizer.
class MessagesTest : public ::testing::Test {
 protected:
  ApiResult<Parameters> parse(const std::string& source, const std::string& body) {
    const auto chat_template = ChatTemplate::parse(source, "/models/secret/chat_template.jinja");
    EXPECT_TRUE(chat_template) << chat_template.error().message();
    std::vector<std::string> unknown;
    const auto parsed = Fields::parse(body);
    if (!parsed) return tl::unexpected<ApiError>(parsed.error());
    return parse_parameters(Endpoint::kChat, *parsed, {model, &*tokenizer, &*chat_template, formats},
                            unknown);
  }
  std::string text(const std::string& source, const std::string& body) {
    const auto parameters = parse(source, body);
    if (!parameters) return "error: " + parameters.error().message;
    return tokenizer->decode(parameters->prompts[0], tokenizer::SkipSpecialTokens::kNo);
  }
  std::string with_messages(const std::string& messages, const std::string& more = "") {
    return "{\"messages\": " + messages + more + "}";
  }

  const Result<tokenizer::Tokenizer> tokenizer =
      tokenizer::Tokenizer::load(CONCERTINA_SOURCE_DIR "/models/demo");
  AnswerFormats formats;
  front::ModelInfo model{.served_name = "demo", .max_model_len = 1 << 20, .vocab_size = 4096};
  const std::string show = "{{ messages | tojson }}";
  const std::string call_of_f =
      R"([{"role":"user","content":"x"},{"role":"assistant","content":null,"tool_calls":
      [{"id":"c","type":"function","function":{"name":"f","arguments":)";
};

// A template that fails on what it renders would say so: none of it was rendered.
TEST_F(MessagesTest, WhatCannotFitIsRefusedByItsBytesBeforeItIsRendered) {
  model.max_model_len = 1000;
  const std::string fails = "{{ raise_exception('rendered') }}", megabyte(1 << 20, 'x');
  const auto error = [&](const std::string& messages) {
    const auto parameters = parse(fails, with_messages(messages));
    return parameters ? "none" : parameters.error().message;
  };
  const auto message = [](const std::string& role, const std::string& content) {
    return fmt::format(R"({{"role":"{}","content":{}}})", role, content);
  };
  EXPECT_THAT(error("[" + message("system", "\"  x\"") + "," + message("user", "\"" + megabyte + "\"") + "]"),
              HasSubstr("messages has 1048577 bytes, but no text of more than "));
  EXPECT_THAT(
      error("[" +
            message("user", R"([{"type":"text","text":"xx"},{"type":"text","text":")" + megabyte + "\"}]") +
            "]"),
      HasSubstr("messages has 1048578 bytes"));
  for (const std::string& passes :
       {message("user", "\"" + megabyte + "\""), message("assistant", "\"" + megabyte + "yy\""),
        message("user", "\"" + std::string(2 << 20, ' ') + "\"")})
    EXPECT_THAT(error("[" + passes + "]"), HasSubstr("rendered"));
}

// Each mention of a variable looks through all of them: 250,000 took minutes.
TEST_F(MessagesTest, ATemplatesVariablesAreBounded) {
  const auto with_variables = [&](std::size_t n) {
    std::string more = ", \"chat_template_kwargs\": {\"v\": 0";
    for (std::size_t i = 1; i < n; ++i) more += fmt::format(", \"v{}\": {}", i, i);
    return parse("{{ v }}", with_messages(R"([{"role": "user", "content": "x"}])", more + "}"));
  };
  EXPECT_TRUE(with_variables(256));
  const auto refused = with_variables(257);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().param, "chat_template_kwargs");
  EXPECT_THAT(refused.error().message, HasSubstr("has 257 members; it must have at most 256"));
}

// Requests as clients send them, with what Jinja2 makes of them (src/chat/testdata/make_jinja_cases.py).
TEST_F(MessagesTest, RenderAsHuggingFacesRendererDoes) {
  const std::filesystem::path data = CONCERTINA_SOURCE_DIR "/src/chat/testdata";
  const auto cases = Json::parse(std::ifstream(data / "request_cases.json"));
  ASSERT_GT(cases.size(), 100u);
  for (const auto& reference : cases) {
    const auto file = reference["template_file"].get<std::string>(),
               body = reference["body"].get<std::string>();
    std::ifstream stream(data / "templates" / file);
    const std::string source(std::istreambuf_iterator<char>(stream), {});
    if (reference.contains("text")) {
      EXPECT_EQ(text(source, body), reference["text"].get<std::string>()) << file << " " << body;
    } else {
      EXPECT_FALSE(parse(source, body)) << file << " " << body << "; reference: " << reference["error"];
    }
  }
}

TEST_F(MessagesTest, ToolArgumentsSentAsTextAreObjectsForTheTemplate) {
  const std::string loop =
      "{% for m in messages %}{% for c in m.tool_calls or [] %}{{ c.function.name }}{% for k, v in "
      "c.function.arguments|items %} {{ k }}={{ v | tojson }}{% endfor %}{% endfor %}{% endfor %}";
  EXPECT_EQ(text(loop, with_messages(call_of_f + R"("{\"z\": 1, \"a\": [true, null], \"z2\": 1.50}"}}]}])")),
            "f z=1 a=[true, null] z2=1.5");
  EXPECT_EQ(text(loop, with_messages(call_of_f + R"({"z": {"b": 1, "a": 2}}}}]}])")),
            R"(f z={"b": 1, "a": 2})");
  for (const char* none : {"\"\"", "null", "{}", "\"{}\""}) {
    EXPECT_EQ(text(loop, with_messages(call_of_f + none + "}}]}]")), "f") << none;
  }
}

TEST_F(MessagesTest, ATemplateThatJoinsArgumentsAsTextGetsText) {
  const std::string joins =
      "{% for m in messages %}{% for c in m.tool_calls or [] %}{{ c.function.name + ': ' + "
      "c.function.arguments }}"
      "{% endfor %}{% endfor %}";
  EXPECT_EQ(text(joins, with_messages(call_of_f + R"("{\"a\":  1}"}}]}])")), R"(f: {"a":  1})")
      << "as it was sent";
  EXPECT_EQ(text(joins, with_messages(call_of_f + R"({"a": "ü"}}}]}])")), R"(f: {"a": "ü"})");
}

// What small conversations do not tell is tried on the one that came.
TEST_F(MessagesTest, ATemplateThatCannotBeProbedGetsWhatItCanRender) {
  const std::string picky =
      "{% if messages[0].content != 'x' %}{{ raise_exception('say x') }}{% endif %}{{ "
      "messages[1].tool_calls[0].function.arguments + '!' }}";
  EXPECT_EQ(text(picky, with_messages(call_of_f + R"("{\"a\":1}"}}]}])")), R"({"a":1}!)");
}

TEST_F(MessagesTest, NullContentOfACallIsWhatTheTemplateTestsFor) {
  const std::string tests_none =
      "{% for m in messages %}{% if m.role == 'assistant' and m.content is none %}{{ "
      "m.tool_calls[0].function.name }}"
      "{{ m.tool_calls[0].function.arguments | tojson }}{% else %}{{ m.content }}{% endif %}{% endfor %}";
  EXPECT_EQ(text(tests_none, with_messages(call_of_f + "{}}}]}]")), "xf{}");
  EXPECT_EQ(text("{{ messages[1].content }}|{{ messages[1].tool_calls[0].id }}",
                 with_messages(call_of_f + "{}}}]}]")),
            "|c")
      << "not None";
}

TEST_F(MessagesTest, KeysKeepTheirOrderAndNullFieldsAreAbsent) {
  EXPECT_EQ(text(show, with_messages(
                           R"([{"content":"x","weight":2,"role":"user","name":null,"b":{"z":null,"a":0}}])")),
            R"([{"content": "x", "weight": 2, "role": "user", "b": {"z": null, "a": 0}}])");
  EXPECT_EQ(text(show, with_messages(R"([{"role":"assistant","tool_calls":[],"refusal":null}])")),
            R"([{"role": "assistant", "content": ""}])");
  EXPECT_EQ(
      text(show, with_messages(R"([{"role":"developer","content":""},{"role":"tool","content":null}])")),
      R"([{"role": "system", "content": ""}, {"role": "tool", "content": ""}])");
  EXPECT_EQ(
      text("{{ z }}{{ k | tojson }}",
           with_messages(R"([{"role":"user","content":"x"}])",
                         R"(, "chat_template_kwargs": {"z": 1, "k": {"y": 1, "x": 18446744073709551616}})")),
      R"(1{"y": 1, "x": 18446744073709551616})");
}

TEST_F(MessagesTest, ToolsAreShownWhereNoCallIsWanted) {
  const std::string tools =
      R"(, "tools": [{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object",
      "properties":{"z":{"type":"string"},"a":{"type":"integer"}},"required":["z"]}}}])";
  const std::string user = R"([{"role":"user","content":"x"}])";
  EXPECT_EQ(
      text("{{ tools | tojson }}", with_messages(user, tools + R"(, "tool_choice": "none")")),
      R"([{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object", )"
      R"("properties": {"z": {"type": "string"}, "a": {"type": "integer"}}, "required": ["z"]}}}])");
  for (const char* choice : {"", R"(, "tool_choice": null)", R"(, "tool_choice": "auto")"}) {
    const auto refused = parse("x", with_messages(user, tools + choice));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().param, "tools");
    EXPECT_EQ(refused.error().code, "unsupported_parameter");
  }
  EXPECT_EQ(text("{{ tools is none }}", with_messages(user, R"(, "tools": [])")), "True");
}

TEST_F(MessagesTest, TextPartsAreJoinedForTemplatesThatWantText) {
  const std::string body = with_messages(
      R"([{"role":"user","content":[{"type":"text","text":""},{"type":"input_text","text":"a"},"b"]},
          {"role":"assistant","content":[{"type":"refusal","refusal":"no"}]},{"role":"user","content":[]}])");
  EXPECT_EQ(text("{% for m in messages %}[{{ m.content }}]{% endfor %}", body), "[\na\nb][no][]");
}

TEST_F(MessagesTest, TemplatesThatLoopOverPartsGetParts) {
  const std::string both =
      "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for p in m['content'] "
      "%}"
      "<{{ p.text }}>{% endfor %}{% endif %}{% endfor %}";
  const std::string only =
      "{% for m in messages %}{% for p in m.content %}<{{ p['text'] }}>{% endfor %}{% endfor %}";
  const std::string body = with_messages(
      R"([{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},{"role":"user","content":"c"}])");
  EXPECT_EQ(text(both, body), "<a><b>c");
  EXPECT_EQ(text(only, body), "<a><b><c>");
  EXPECT_EQ(text("{% for m in messages %}{% for c in m.content %}{{ c }}{% endfor %}{% endfor %}", body),
            "a\nbc")
      << "a loop over characters is none over parts";
}

TEST_F(MessagesTest, WhatIsWrongIsNamedByItsPlace) {
  const auto call = [&](const std::string& c) {
    return R"([{"role":"user","content":"x"},{"role":"assistant","tool_calls":[)" + c + "]}]";
  };
  const std::pair<std::string, const char*> cases[] = {
      {R"([7])", "messages[0]"},
      {R"([{"content":"x"}])", "messages[0].role"},
      {R"([{"role":7,"content":"x"}])", "messages[0].role"},
      {R"([{"role":"user"}])", "messages[0].content"},
      {R"([{"role":"user","content":null}])", "messages[0].content"},
      {R"([{"role":"user","content":7}])", "messages[0].content"},
      {R"([{"role":"user","content":"x","name":7}])", "messages[0].name"},
      {R"([{"role":"tool","content":"x","tool_call_id":7}])", "messages[0].tool_call_id"},
      {R"([{"role":"user","content":["x",7]}])", "messages[0].content[1]"},
      {R"([{"role":"user","content":[{"text":"x"}]}])", "messages[0].content[0].type"},
      {R"([{"role":"user","content":[{"type":"text","text":7}]}])", "messages[0].content[0].text"},
      {R"([{"role":"user","content":[{"type":"text","text":"x"},{"type":"image_url","image_url":{"url":"u"}}]}])",
       "messages[0].content[1]"},
      {R"([{"role":"user","content":[{"type":"input_audio","input_audio":{}}]}])", "messages[0].content[0]"},
      {R"([{"role":"user","content":[{"type":"file","file":{}}]}])", "messages[0].content[0]"},
      {R"([{"role":"assistant","tool_calls":7}])", "messages[0].tool_calls"},
      {call("7"), "messages[1].tool_calls[0]"},
      {call(R"({"id":"c","type":"function"})"), "messages[1].tool_calls[0].function"},
      {call(R"({"id":"c","type":"custom","custom":{}})"), "messages[1].tool_calls[0].type"},
      {call(R"({"id":7,"function":{"name":"f"}})"), "messages[1].tool_calls[0].id"},
      {call(R"({"function":{}})"), "messages[1].tool_calls[0].function.name"},
      {call(R"({"function":{"name":"f","arguments":7}})"), "messages[1].tool_calls[0].function.arguments"},
      {call(R"({"function":{"name":"f"}},{"function":{"name":"g","arguments":"{a}"}})"),
       "messages[1].tool_calls[1].function.arguments"},
  };
  for (const auto& [messages, param] : cases) {
    const auto parameters = parse(show, with_messages(messages));
    ASSERT_FALSE(parameters) << messages;
    EXPECT_EQ(parameters.error().status, 400) << messages;
    EXPECT_EQ(parameters.error().param, param);
    EXPECT_THAT(parameters.error().message, HasSubstr(param));
  }
}

TEST_F(MessagesTest, AFailingTemplateIsTheClientsFaultUnlessItAlwaysFails) {
  const std::string odd = R"([{"role":"user","content":"x","tool_call_id":"c","odd":7}])";
  const auto clients =
      parse("{% for m in messages %}{{ m.content + (m.odd or '') }}{% endfor %}", with_messages(odd));
  ASSERT_FALSE(clients);
  EXPECT_EQ(clients.error().status, 400);
  EXPECT_EQ(clients.error().param, "messages");
  EXPECT_THAT(clients.error().message, Not(HasSubstr("secret")));
  const auto raised = parse("{{ raise_exception('roles must alternate') }}", with_messages(odd));
  EXPECT_EQ(raised.error().status, 400);
  EXPECT_EQ(raised.error().message, "chat template: line 1: roles must alternate");
  const auto broken = parse("{{ messages[0].content.nothing.at_all }}", with_messages(odd));
  EXPECT_EQ(broken.error().status, 500);
  EXPECT_THAT(broken.error().message, Not(HasSubstr("secret")));
  const std::string long_text(17 << 20, 'x');
  const auto too_long = parse("{{ messages[0].content }}",
                              with_messages(R"([{"role":"user","content":")" + long_text + "\"}]"));
  EXPECT_EQ(too_long.error().status, 400);
}

}  // namespace
}  // namespace concertina::server::openai
