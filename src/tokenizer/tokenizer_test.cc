#include "tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "tokenizer/normal_form.h"
#include "tokenizer/test_folder.h"

namespace concertina::tokenizer {
namespace {

const std::filesystem::path kDemo = std::filesystem::path(CONCERTINA_SOURCE_DIR) / "models/demo";

const std::filesystem::path kTestData =
    std::filesystem::path(CONCERTINA_SOURCE_DIR) / "src/tokenizer/testdata";

nlohmann::json golden() { return nlohmann::json::parse(std::ifstream(kDemo / "tokenizer_golden.json")); }

const Tokenizer& demo() {
  static const Tokenizer tokenizer = Tokenizer::load(kDemo).value();
  return tokenizer;
}

// Fewer merges than the base, and options, as the reference's script made them.
void patch_model(const nlohmann::json& how, nlohmann::json& model) {
  if (how.contains("ignore_merges")) model["ignore_merges"] = how["ignore_merges"];
  nlohmann::json merges = nlohmann::json::array();
  for (std::size_t i = 0; i < how["n_merges"].get<std::size_t>(); ++i) {
    const auto& pair = model["merges"][i];
    if (how["as_lines"]) {
      merges.push_back(pair[0].get<std::string>() + " " + pair[1].get<std::string>());
    } else {
      merges.push_back(pair);
    }
  }
  model["merges"] = std::move(merges);
}

TEST(DemoTokenizer, GivesTheIdsOfTheReferenceForEveryGoldenText) {
  const auto cases = golden()["encode"];
  ASSERT_EQ(cases.size(), 49u);
  for (const auto& c : cases) {
    const auto text = c["text"].get<std::string>();
    const auto ids = c["ids"].get<std::vector<TokenId>>();
    EXPECT_EQ(demo().encode(text, AddSpecialTokens::kYes), ids) << text;
    EXPECT_EQ(demo().decode(ids, SkipSpecialTokens::kNo), c["decoded"].get<std::string>());
    EXPECT_EQ(demo().decode(ids, SkipSpecialTokens::kYes), c["decoded_skip_special"].get<std::string>());
  }
}

TEST(Tokenizer, GivesTheIdsOfTheReferenceForVariantsOfTheFile) {
  const auto base = nlohmann::json::parse(std::ifstream(kDemo / "tokenizer.json"));
  const auto variants = nlohmann::json::parse(std::ifstream(kTestData / "tokenizer_cases.json"));
  ASSERT_GT(variants.size(), 15u);
  for (const auto& variant : variants) {
    auto file = base;
    for (const auto& [key, value] : variant["patch"].items()) file[key] = value;
    if (variant.contains("model")) patch_model(variant["model"], file["model"]);
    const TestFolder folder(file.dump());
    const auto tokenizer = Tokenizer::load(folder.path());
    ASSERT_TRUE(tokenizer) << variant["name"] << ": " << tokenizer.error().message();
    for (const auto& c : variant["cases"]) {
      const auto text = c["text"].get<std::string>();
      EXPECT_EQ(tokenizer->encode(text, AddSpecialTokens::kYes), c["ids"].get<std::vector<TokenId>>())
          << variant["name"] << ": " << text;
    }
  }
}

// A long text that is one piece to BPE, to the expression or to the normalizer: quadratic work would take
// minutes.
TEST(Tokenizer, TakesTimeNearlyLinearInTheTextWhateverTheText) {
  constexpr int kCharacters = 300'000;
  for (const std::string unit :
       {"a", " ", "\n", " \n", "ab", "!", "\u0301", "\u0316\u0301", "'", "日", "<", "<|im_end|", "\xF0"}) {
    std::string text;
    while (text.size() < kCharacters) text += unit;
    const auto ids = demo().encode(text, AddSpecialTokens::kNo);
    EXPECT_EQ(demo().decode(ids, SkipSpecialTokens::kNo), to_nfc(replace_invalid_utf8(text))) << unit;
  }
}

TEST(Tokenizer, FindsTokensByIdAndByText) {
  EXPECT_EQ(demo().vocab_size(), 4096u);
  EXPECT_EQ(demo().token_to_id("<|im_end|>"), 4095);
  EXPECT_EQ(demo().token_to_id("no such token"), std::nullopt);
  EXPECT_EQ(demo().token_text(1181), "Ġworld");
  EXPECT_EQ(demo().token_bytes(1181), " world");
  EXPECT_EQ(demo().token_text(-1), "");
  EXPECT_EQ(demo().token_bytes(4096), "");
  EXPECT_TRUE(demo().is_special(4095));
  EXPECT_FALSE(demo().is_special(1181));
  EXPECT_FALSE(demo().is_special(1 << 30));
  EXPECT_EQ(demo().special_tokens().eos, "<|im_end|>");
  EXPECT_EQ(demo().special_tokens().bos, std::nullopt);
}

}  // namespace
}  // namespace concertina::tokenizer
