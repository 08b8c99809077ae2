#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "chat/chat_template.h"

namespace concertina::chat {
namespace {

using Json = nlohmann::ordered_json;

std::string fnv1a(const std::string& text) {
  std::uint64_t value = 0xcbf29ce484222325;
  for (const char byte : text) value = (value ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
  return fmt::format("{:016x}", value);
}

// At the time that the references were made.
std::tm now() {
  std::tm now{};
  now.tm_year = 126;
  now.tm_mon = 2;
  now.tm_mday = 5;
  now.tm_hour = 14;
  now.tm_min = 7;
  now.tm_sec = 9;
  timegm(&now);
  return now;
}

// The text, or nothing where the template fails.
std::optional<std::string> rendered(const std::string& source, Json chat) {
  const tokenizer::SpecialTokens tokens{"<s>", "</s>", std::nullopt, std::nullopt};
  const Json messages = chat["messages"];
  const bool adds = chat.value("add_generation_prompt", true);
  chat.erase("messages");
  chat.erase("add_generation_prompt");
  const auto parsed = ChatTemplate::parse(source, "t");
  if (!parsed) return std::nullopt;
  auto text = parsed->render(
      {messages, adds ? GenerationPrompt::kAdd : GenerationPrompt::kNone, tokens, chat, now()});
  return text ? std::optional(*std::move(text)) : std::nullopt;
}

// Templates of published models, beside what Jinja2 makes of them (tools/chat-templates/make_published.py).
TEST(PublishedTemplates, RenderAsJinja2Does) {
  const auto data =
      Json::parse(std::ifstream(CONCERTINA_SOURCE_DIR "/src/chat/testdata/published_templates.json"));
  ASSERT_GE(data["templates"].size(), 80u);
  std::size_t n_texts = 0;
  for (const Json& reference : data["templates"]) {
    const std::string name = reference["name"], source = reference["source"];
    for (const auto& [chat, hash] : reference["hashes"].items()) {
      const auto text = rendered(source, data["chats"][chat]);
      EXPECT_EQ(text.has_value(), !hash.is_null()) << name << ", " << chat;
      if (!text || hash.is_null()) continue;
      n_texts += 1;
      EXPECT_EQ(fnv1a(*text), hash.get<std::string>())
          << "make_published.py show '" << name << "' " << chat << " differs from:\n"
          << *text;
    }
  }
  EXPECT_GT(n_texts, 900u);
}

}  // namespace
}  // namespace concertina::chat
