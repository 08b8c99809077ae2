#include "tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/random.h"
#include "tokenizer/error.h"
#include "tokenizer/utf8.h"

namespace concertina::tokenizer {
namespace {

using nlohmann::json;
const std::filesystem::path kDemo = CONCERTINA_SOURCE_DIR "/models/demo";

const Tokenizer& demo() {
  static const std::unique_ptr<Tokenizer> tokenizer = Tokenizer::load(kDemo).value();
  return *tokenizer;
}
json goldens() { return json::parse(std::ifstream(kDemo / "tokenizer_golden.json")); }

TEST(Tokenizer, EncodesAndDecodesAsTheReferenceDoes) {
  const json golden = goldens();
  ASSERT_GE(golden["encode"].size(), 49u);
  for (const json& one : golden["encode"]) {
    const auto text = one["text"].get<std::string>();
    const auto ids = one["ids"].get<std::vector<TokenId>>();
    EXPECT_EQ(demo().encode(text, AddSpecialTokens::kYes), ids) << text;
    EXPECT_EQ(demo().decode(ids, SpecialTokens::kKeep), one["decoded"].get<std::string>()) << text;
    EXPECT_EQ(demo().decode(ids, SpecialTokens::kSkip), one["decoded_skip_special"].get<std::string>())
        << text;
  }
  for (const json& chat : golden["chat"]) {
    EXPECT_EQ(demo().encode(chat["text"].get<std::string>(), AddSpecialTokens::kNo),
              chat["ids"].get<std::vector<TokenId>>());
  }
}

TEST(Tokenizer, AnyBytesComeBackAndStreamingAddsUpToTheWhole) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Random random(seed);
    std::string text;
    for (std::size_t i = random.below(60); i > 0; --i) {
      if (random.below(4) == 0) {
        append_utf8(text, static_cast<char32_t>(0x4E00 + random.below(2000)));  // unchanged by NFC
      } else if (random.below(6) == 0) {
        append_utf8(text, static_cast<char32_t>(0x1F600 + random.below(60)));
      } else {
        text.push_back(static_cast<char>(' ' + random.below(95)));
      }
    }
    EXPECT_EQ(demo().decode(demo().encode(text, AddSpecialTokens::kNo), SpecialTokens::kKeep), text);

    std::vector<TokenId> ids;  // any ids: half characters, invalid bytes
    for (std::size_t i = random.below(80); i > 0; --i) ids.push_back(static_cast<TokenId>(random.below(400)));
    const std::string whole = demo().decode(ids, SpecialTokens::kSkip);
    StreamingDetokenizer stream(demo(), SpecialTokens::kSkip);
    std::string streamed;
    for (const TokenId id : ids) {
      streamed += stream.push(id);
      ASSERT_EQ(whole.compare(0, streamed.size(), streamed), 0) << "a prefix after every token";
    }
    EXPECT_EQ(streamed + stream.flush(), whole);
  }
}

TEST(Tokenizer, AMillionBytesWithoutASpaceTakeNotQuadraticTime) {
  const std::string text(1 << 20, 'a');
  EXPECT_EQ(demo().decode(demo().encode(text, AddSpecialTokens::kNo), SpecialTokens::kKeep), text);
}

TEST(Utf8, InvalidPartsAreReplacedOneByMaximalPart) {
  EXPECT_EQ(to_valid_utf8("a\xF0\x9F\x98z"), "a\xEF\xBF\xBDz");
  EXPECT_EQ(to_valid_utf8("\xC0\xAF"), "\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(to_valid_utf8("\xED\xA0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD") << "a surrogate";
  EXPECT_EQ(complete_length("ab\xE4\xB8"), 2u);
  EXPECT_EQ(complete_length("ab\xE4\xB8\xAD"), 5u);
  EXPECT_EQ(complete_length("ab\x80"), 3u) << "never part of a character: no reason to wait";
}

class BadFile : public ::testing::Test {
 protected:
  std::string load(const json& content) { return load_text(content.dump()); }
  std::string load_text(const std::string& content) {
    const auto folder = std::filesystem::path(::testing::TempDir()) / "bad_tokenizer";
    std::filesystem::create_directories(folder);
    std::ofstream(folder / "tokenizer.json") << content;
    const auto loaded = Tokenizer::load(folder);
    return loaded ? "loaded" : loaded.error().message();
  }
  json good = json::parse(std::ifstream(kDemo / "tokenizer.json"));
};

TEST_F(BadFile, IsRefusedByNameOfFileAndField) {
  EXPECT_EQ(load(good), "loaded");
  EXPECT_NE(load_text("{\"model\": {").find("tokenizer.json"), std::string::npos);
  EXPECT_NE(load_text("[]").find("must be a JSON object"), std::string::npos);
  json bad = good;
  bad["model"]["type"] = "Unigram";
  EXPECT_NE(load(bad).find("model.type is \"Unigram\""), std::string::npos);
  bad = good;
  bad["model"]["merges"].push_back({"zzzz", "qqqq"});
  EXPECT_NE(load(bad).find("model.merges["), std::string::npos);
  bad = good;
  bad["model"]["vocab"]["x!x"] = 1ll << 40;
  EXPECT_NE(load(bad).find("x!x"), std::string::npos);
  bad = good;
  bad["pre_tokenizer"] = {{"type", "Metaspace"}};
  EXPECT_NE(load(bad).find("Metaspace"), std::string::npos);
  bad = good;
  bad["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "(";
  EXPECT_NE(load(bad).find("split expression"), std::string::npos);
  bad = good;
  bad.erase("model");
  EXPECT_NE(load(bad).find("model is missing"), std::string::npos);
}

}  // namespace
}  // namespace concertina::tokenizer
