#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "chat/chat_template.h"
#include "chat/error.h"
#include "tokenizer/test_folder.h"

namespace concertina::chat {
namespace {

using Json = nlohmann::ordered_json;
using testing::HasSubstr;

TEST(ChatTemplateFile, ThatIsNotThereIsMissing) {
  const tokenizer::TestFolder folder;
  EXPECT_TRUE(ChatTemplate::load(folder.path()).error().is(ChatError::kMissing));
}

TEST(ChatTemplateFile, IsFoundInEachOfItsPlaces) {
  const Json messages = Json::array({{{"role", "user"}, {"content", "hi"}}});
  const auto render = [&](const tokenizer::TestFolder& folder, const Json& variables) {
    return ChatTemplate::load(folder.path())
        .value()
        .render({messages, GenerationPrompt::kAdd, {}, variables})
        .value();
  };
  const Json none = Json::object(), tools = {{"tools", Json::array({1})}};
  tokenizer::TestFolder folder;
  folder.write("tokenizer_config.json", R"({"chat_template": "one {{ messages[0].content }}"})");
  EXPECT_EQ(render(folder, none), "one hi");
  folder.write("tokenizer_config.json", R"({"chat_template": [{"name": "default", "template": "plain"},
                                                             {"name": "tool_use", "template": "tools"}]})");
  EXPECT_EQ(render(folder, none), "plain");
  EXPECT_EQ(render(folder, tools), "tools");
  folder.write("tokenizer_config.json", R"({"chat_template": {"default": "plain", "tool_use": "by name"}})");
  EXPECT_EQ(render(folder, tools), "by name");
  folder.write("chat_template.jinja", "from the file");
  EXPECT_EQ(render(folder, none), "from the file");
}

TEST(ChatTemplateFile, NamesTheFileAndTheLineOfAFault) {
  tokenizer::TestFolder folder;
  folder.write("chat_template.jinja", "a\n{% if x %}\n{{ 1 + }}\n{% endif %}");
  const auto loaded = ChatTemplate::load(folder.path());
  ASSERT_FALSE(loaded);
  EXPECT_TRUE(loaded.error().is(ChatError::kTemplateInvalid));
  EXPECT_THAT(loaded.error().message(),
              HasSubstr("chat_template.jinja: line 3: expected an expression, found }}"));
}

}  // namespace
}  // namespace concertina::chat
