#include "tokenizer/chat_template.h"

#include <gtest/gtest.h>

#include <fstream>

#include "tokenizer/error.h"

namespace concertina::tokenizer {
namespace {

using json = nlohmann::ordered_json;
const std::filesystem::path kDemo = CONCERTINA_SOURCE_DIR "/models/demo";

std::string render(const std::string& source, const json& variables = json::object()) {
  const auto parsed = ChatTemplate::parse("t", source);
  if (!parsed) return "PARSE: " + parsed.error().message();
  const auto rendered = parsed->render(variables, 1700000000);
  return rendered ? *rendered : "RENDER: " + rendered.error().message();
}

TEST(ChatTemplate, RendersTheDemoModelsChatsAsTheReferenceDoes) {
  const json golden = json::parse(std::ifstream(kDemo / "tokenizer_golden.json"));
  const ChatTemplate chat = ChatTemplate::load(kDemo).value();
  ASSERT_GE(golden["chat"].size(), 8u);
  for (const json& one : golden["chat"]) {
    const json variables{{"messages", one["messages"]},
                         {"add_generation_prompt", one["add_generation_prompt"]}};
    EXPECT_EQ(chat.render(variables, 0).value(), one["text"].get<std::string>());
  }
}

TEST(Jinja, ControlsBlanksAsTransformersDoes) {
  EXPECT_EQ(render("a\n  {% if true %}\nb\n  {% endif %}\nc\n"), "a\nb\nc")
      << "trim_blocks and lstrip_blocks";
  EXPECT_EQ(render("a  {%- if true -%}  b  {%- endif -%}  c"), "abc");
  EXPECT_EQ(render("a {{- ' x ' -}} b"), "a x b");
  EXPECT_EQ(render("{# note #}\nx"), "x");
  EXPECT_EQ(render("a\n\n{{ 'b' }}\n\nc"), "a\n\nb\n\nc");
}

TEST(Jinja, Expressions) {
  EXPECT_EQ(render("{{ 1 + 2 * 3 ** 2 }} {{ 7 // 2 }} {{ 7 % 4 }} {{ 7 / 2 }} {{ -3 }}"), "19 3 3 3.5 -3");
  EXPECT_EQ(render("{{ 'a' ~ 1 ~ none ~ true }}"), "a1NoneTrue");
  EXPECT_EQ(render("{{ 'b' if 1 > 2 else 'c' }}{{ 'd' if false }}"), "c");
  EXPECT_EQ(render("{{ not a and (b or 'x') }}", {{"a", false}, {"b", ""}}), "x");
  EXPECT_EQ(render("{{ l[-1] }}{{ l[1:] }}{{ l[::-1] }}{{ 'abc'[1] }}{{ 'abc'[:-1] }}", {{"l", {1, 2, 3}}}),
            "3[2, 3][3, 2, 1]bab");
  EXPECT_EQ(
      render("{{ 'k' in d }}{{ 'z' not in d }}{{ 'b' in 'abc' }}{{ d.k }}{{ d['k'] }}", {{"d", {{"k", 5}}}}),
      "TrueTrueTrue55");
  EXPECT_EQ(
      render("{{ x is defined }}{{ x is not defined }}{{ 4 is even }}{{ 'a' is string }}{{ none is none }}"),
      "FalseTrueTrueTrueTrue");
  EXPECT_EQ(render("{{ {'a': 1, 'b': [true, none]} | tojson }}"), R"({"a": 1, "b": [true, null]})");
  EXPECT_EQ(render("{{ {'é': 1} | tojson(indent=2) }}"), "{\n  \"é\": 1\n}");
  EXPECT_EQ(render("{{ ' a ' | trim | upper }}{{ [3,1,2] | sort | join('-') }}{{ x | default('y') }}{{ 'abc' "
                   "| length }}"),
            "A1-2-3y3");
  EXPECT_EQ(render("{{ 'a,b'.split(',')[1] }}{{ ' x '.strip() }}{{ 'ab'.startswith('a') }}{{ "
                   "'x-y'.replace('-', '+') }}"),
            "bxTruex+y");
  EXPECT_EQ(render("{{ ms | selectattr('role', 'equalto', 'user') | map(attribute='content') | join('|') }}",
                   {{"ms",
                     {{{"role", "user"}, {"content", "a"}},
                      {{"role", "x"}, {"content", "b"}},
                      {{"role", "user"}, {"content", "c"}}}}}),
            "a|c");
}

TEST(Jinja, Statements) {
  EXPECT_EQ(render("{% for x in [1,2,3] if x != 2 %}{{ loop.index }}{{ x }}{{ ',' if not loop.last }}{% else "
                   "%}none{% endfor %}"),
            "11,23");
  EXPECT_EQ(render("{% for x in [] %}a{% else %}none{% endfor %}"), "none");
  EXPECT_EQ(render("{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}{{ v }}{% endfor %}"), "a1b2");
  EXPECT_EQ(
      render(
          "{% set ns = namespace(n=0) %}{% for x in [1,2] %}{% set ns.n = ns.n + x %}{% endfor %}{{ ns.n }}"),
      "3");
  EXPECT_EQ(render("{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{% endfor %}{{ x }}"), "1")
      << "a loop's scope ends with it";
  EXPECT_EQ(render("{% macro m(a, b='z') %}[{{ a }}{{ b }}]{% endmacro %}{{ m(1) }}{{ m(1, b=2) }}"),
            "[1z][12]");
  EXPECT_EQ(render("{% for x in range(5) %}{% if x == 3 %}{% break %}{% endif %}{% if x == 1 %}{% continue "
                   "%}{% endif %}{{ x }}{% endfor %}"),
            "02");
  EXPECT_EQ(render("{% set t %}a{{ 1 }}{% endset %}{{ t }}{{ t }}"), "a1a1");
  EXPECT_EQ(render("{{ strftime_now('%Y') }}"), "2023");
}

TEST(Jinja, ErrorsNameTemplateLineAndCause) {
  EXPECT_EQ(render("a\n{{ raise_exception('Roles must alternate') }}"),
            "RENDER: t: line 2: Roles must alternate");
  EXPECT_EQ(render("{{ x.y }}"), "RENDER: t: line 1: \"x\" is undefined: it has no \"y\"");
  EXPECT_NE(render("{% if %}").find("PARSE: t: line 1"), std::string::npos);
  EXPECT_NE(render("a\n{% if true %}").find("line 2: no \"endif\""), std::string::npos);
  EXPECT_NE(render("{% include 'x' %}").find("unknown statement \"include\""), std::string::npos);
  EXPECT_NE(render("{{ 'a' | frobnicate }}").find("unknown filter \"frobnicate\""), std::string::npos);
  EXPECT_NE(render("{{ " + std::string(5000, '(') + " }}").find("nested too deeply"), std::string::npos);
  EXPECT_NE(render("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}").find("nested too deeply"),
            std::string::npos);
}

TEST(Jinja, PublishedStyles) {
  const json messages = {{{"role", "system"}, {"content", "Be brief."}},
                         {{"role", "user"}, {"content", " Hi "}},
                         {{"role", "assistant"}, {"content", "<think>\nhm\n</think>\n\nYo"}},
                         {{"role", "user"}, {"content", "Bye"}}};
  // Mixtral's: [INST] and strict alternation.
  const std::string inst =
      "{%- if messages[0]['role'] == 'system' %}\n    {%- set system_message = messages[0]['content'] %}\n"
      "    {%- set loop_messages = messages[1:] %}\n{%- else %}\n    {%- set loop_messages = messages "
      "%}\n{%- endif %}\n"
      "{{- bos_token }}\n{%- for message in loop_messages %}\n"
      "    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\n"
      "        {{- raise_exception('roles must alternate') }}\n    {%- endif %}\n"
      "    {%- if message['role'] == 'user' %}\n        {%- if loop.first and system_message is defined %}\n"
      "            {{- ' [INST] ' + system_message + '\\n\\n' + message['content'] + ' [/INST]' }}\n        "
      "{%- else %}\n"
      "            {{- ' [INST] ' + message['content'] + ' [/INST]' }}\n        {%- endif %}\n"
      "    {%- else %}\n        {{- ' ' + message['content'] + eos_token }}\n    {%- endif %}\n{%- endfor "
      "%}\n";
  EXPECT_EQ(render(inst, {{"messages", messages}, {"bos_token", "<s>"}, {"eos_token", "</s>"}}),
            "<s> [INST] Be brief.\n\n Hi  [/INST] <think>\nhm\n</think>\n\nYo</s> [INST] Bye [/INST]");
  // Qwen3's: the last user message is found backwards, and earlier thoughts are left out.
  const std::string qwen =
      "{%- set ns = namespace(multi_step_tool=true, last=messages|length - 1) %}\n"
      "{%- for message in messages[::-1] %}\n    {%- set index = (messages|length - 1) - loop.index0 %}\n"
      "    {%- if ns.multi_step_tool and message.role == \"user\" %}\n        {%- set ns.multi_step_tool = "
      "false %}\n"
      "        {%- set ns.last = index %}\n    {%- endif %}\n{%- endfor %}\n{%- for message in messages %}\n"
      "    {%- set content = message.content %}\n    {%- if message.role == 'assistant' and '</think>' in "
      "content %}\n"
      "        {%- set content = content.split('</think>')[-1].lstrip('\\n') %}\n    {%- endif %}\n"
      "    {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}\n{%- endfor %}\n"
      "{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n' }}\n"
      "    {%- if enable_thinking is defined and enable_thinking is false %}\n        {{- "
      "'<think>\\n\\n</think>\\n\\n' }}\n"
      "    {%- endif %}\n{%- endif %}\n{{- ns.last }}";
  EXPECT_EQ(
      render(qwen, {{"messages", messages}, {"add_generation_prompt", true}, {"enable_thinking", false}}),
      "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi "
      "<|im_end|>\n<|im_start|>assistant\nYo<|im_end|>\n"
      "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n3");
}

}  // namespace
}  // namespace concertina::tokenizer
