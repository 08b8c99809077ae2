// SentencePiece-style files, beside Hugging Face's own library (testdata/make_sentencepiece_cases.mjs).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "base/utf8.h"
#include "tokenizer/streaming_detokenizer.h"
#include "tokenizer/test_folder.h"
#include "tokenizer/tokenizer.h"

namespace concertina::tokenizer {
namespace {

using Json = nlohmann::ordered_json;
using testing::HasSubstr;

Json test_data(const char* name) {
  return Json::parse(
      std::ifstream(std::filesystem::path(CONCERTINA_SOURCE_DIR) / "src/tokenizer/testdata" / name));
}

const Json& base_file() {
  static const Json file = test_data("sentencepiece_tokenizer.json");
  return file;
}

Json patched(const Json& patch) {
  Json file = base_file();
  for (const auto& [key, value] : patch.items()) {
    if (key != "model") file[key] = value;
  }
  if (patch.contains("model")) {
    for (const auto& [key, value] : patch["model"].items()) file["model"][key] = value;
  }
  return file;
}

Result<Tokenizer> load(const Json& file) { return Tokenizer::load(TestFolder(file.dump()).path()); }

std::string streamed(const Tokenizer& tokenizer, const std::vector<TokenId>& ids, SkipSpecialTokens skip,
                     TextBegin begin = TextBegin::kHere) {
  StreamingDetokenizer stream(tokenizer, skip, begin);
  std::string joined;
  for (const TokenId id : ids) {
    const std::string piece = stream.push(id);
    EXPECT_TRUE(is_valid_utf8(piece));
    joined += piece;
  }
  return joined + stream.flush();
}

TEST(SentencePiece, GivesTheIdsAndTextsOfTheReferenceForVariantsOfTheFile) {
  const Json variants = test_data("sentencepiece_cases.json");
  ASSERT_GT(variants.size(), 15u);
  for (const auto& variant : variants) {
    SCOPED_TRACE(variant["name"].get<std::string>());
    const auto tokenizer = load(patched(variant["patch"]));
    ASSERT_TRUE(tokenizer) << tokenizer.error().message();
    const std::size_t bound = tokenizer->most_bytes_per_token();
    for (const auto& c : variant["cases"]) {
      const auto text = c["text"].get<std::string>();
      const auto ids = tokenizer->encode(text, AddSpecialTokens::kYes);
      EXPECT_EQ(ids, c["ids"].get<std::vector<TokenId>>()) << c["text"];
      EXPECT_LE(text.size() / bound, ids.size()) << c["text"];
    }
    for (const auto& c : variant["decoded"]) {
      const auto ids = c["ids"].get<std::vector<TokenId>>();
      EXPECT_EQ(tokenizer->decode(ids, SkipSpecialTokens::kNo), c["text"].get<std::string>()) << c["ids"];
      EXPECT_EQ(tokenizer->decode(ids, SkipSpecialTokens::kYes), c["without_special"].get<std::string>());
      EXPECT_EQ(streamed(*tokenizer, ids, SkipSpecialTokens::kNo), c["text"].get<std::string>());
      EXPECT_EQ(streamed(*tokenizer, ids, SkipSpecialTokens::kYes), c["without_special"].get<std::string>());
    }
  }
}

TEST(SentencePiece, StreamsACharacterOfByteTokensWhenItIsWhole) {
  const Tokenizer tokenizer = load(base_file()).value();
  const auto id = [&](std::string_view text) { return tokenizer.token_to_id(text).value(); };
  StreamingDetokenizer stream(tokenizer, SkipSpecialTokens::kYes);
  EXPECT_EQ(stream.push(id("▁the")), "the");  // the space that encode put there
  EXPECT_EQ(stream.push(id("▁the")), " the");
  EXPECT_EQ(stream.push(id("<0xF0>")), "");
  EXPECT_EQ(stream.push(id("<s>")), "");  // a special token that is skipped parts nothing
  EXPECT_EQ(stream.push(id("<0x9F>")), "");
  EXPECT_EQ(stream.push(id("<0x99>")), "");
  EXPECT_EQ(stream.push(id("<0x82>")), "🙂");
  EXPECT_EQ(stream.push(id("<0xE6>")), "");
  EXPECT_EQ(stream.push(id("<0x97>")), "");
  EXPECT_EQ(stream.push(id("t")), "\uFFFD\uFFFDt");  // one for each byte, as the reference
  EXPECT_EQ(stream.push(id("<0xE6>")), "");
  EXPECT_EQ(stream.flush(), "\uFFFD");
}

// The reference replaces the good characters of a run of bytes too if one of it is bad: a stream has sent
// them.
TEST(SentencePiece, KeepsTheGoodCharactersOfARunOfBytes) {
  const Tokenizer tokenizer = load(base_file()).value();
  std::vector<TokenId> ids;
  for (const char* text : {"<0xE6>", "<0x97>", "<0xA5>", "<0xFF>", "<0x41>"}) {
    ids.push_back(tokenizer.token_to_id(text).value());
  }
  EXPECT_EQ(tokenizer.decode(ids, SkipSpecialTokens::kNo), "日\uFFFDA");
  EXPECT_EQ(streamed(tokenizer, ids, SkipSpecialTokens::kNo), "日\uFFFDA");
}

TEST(SentencePiece, StripsNoSpaceOfATextThatGoesOn) {
  for (const char* scheme : {"", "first"}) {
    Json file = base_file();
    if (*scheme != '\0') {
      file["decoder"] = {{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", scheme}};
    }
    const Tokenizer tokenizer = load(file).value();
    const std::vector<TokenId> ids(2, tokenizer.token_to_id("▁the").value());
    EXPECT_EQ(streamed(tokenizer, ids, SkipSpecialTokens::kYes, TextBegin::kHere), "the the");
    EXPECT_EQ(streamed(tokenizer, ids, SkipSpecialTokens::kYes, TextBegin::kBefore), " the the");
  }
}

TEST(SentencePiece, TakesTimeNearlyLinearInTheTextWhateverTheText) {
  const Tokenizer tokenizer = load(base_file()).value();
  for (const std::string unit :
       {"a", " ", "\n", "the", "the ", "日", "旦", "<", "<s", "🙂", "▁", "th", "\u0301"}) {
    std::string text;
    while (text.size() < 300'000) text += unit;
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, AddSpecialTokens::kNo), SkipSpecialTokens::kNo),
              unit == "▁" ? std::string(text.size() / 3, ' ') : text)
        << unit;
  }
}

// Helper threads of the server encode with one tokenizer, each a text of its own.
TEST(Tokenizer, EncodesOnSeveralThreadsAtOnceAsOnOne) {
  const Tokenizer tokenizers[] = {
      load(base_file()).value(),
      Tokenizer::load(std::filesystem::path(CONCERTINA_SOURCE_DIR) / "models/demo").value()};
  for (const Tokenizer& tokenizer : tokenizers) {
    std::vector<std::string> texts;
    for (const auto& c : test_data("sentencepiece_cases.json")[0]["cases"]) {
      texts.push_back(c["text"].get<std::string>());
    }
    std::vector<std::vector<TokenId>> alone;
    for (const std::string& text : texts) alone.push_back(tokenizer.encode(text, AddSpecialTokens::kYes));
    std::vector<std::thread> threads;
    std::vector<int> n_wrong(4);
    for (std::size_t thread = 0; thread < n_wrong.size(); ++thread) {
      threads.emplace_back([&, thread] {
        for (std::size_t i = 0; i < 20 * texts.size(); ++i) {
          const std::size_t at = (i + 7 * thread) % texts.size();
          const auto ids = tokenizer.encode(texts[at], AddSpecialTokens::kYes);
          const std::string text = tokenizer.decode(ids, SkipSpecialTokens::kYes);
          n_wrong[thread] += ids != alone[at] || text != tokenizer.decode(alone[at], SkipSpecialTokens::kYes);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_THAT(n_wrong, testing::Each(0));
  }
}

struct BadFile {
  const char* pointer;
  Json value;
  std::vector<const char*> message;
};

TEST(SentencePieceFile, ThatAsksForMoreThanWeDoIsRefusedByFieldAndValue) {
  const Json metaspace = {{"type", "Metaspace"}, {"replacement", "▁"}};
  const auto with = [&](const char* name, Json value) {
    Json changed = metaspace;
    changed[name] = std::move(value);
    return changed;
  };
  const BadFile files[] = {
      {"/normalizer/normalizers/0/type",
       "Precompiled",
       {"normalizer.normalizers[0].type", "Precompiled", "Prepend"}},
      {"/normalizer/normalizers/0/prepend", "", {"normalizers[0].prepend", "empty"}},
      {"/normalizer/normalizers/1/pattern", Json::object(), {"normalizers[1].pattern", "Regex", "String"}},
      {"/normalizer/normalizers/1/pattern/String", "", {"normalizers[1].pattern", "empty"}},
      {"/normalizer/normalizers/1/pattern", {{"Regex", "("}}, {"normalizers[1].pattern", "does not compile"}},
      {"/pre_tokenizer", with("replacement", "ab"), {"pre_tokenizer.replacement", "one character", "ab"}},
      {"/pre_tokenizer",
       with("prepend_scheme", "twice"),
       {"prepend_scheme", "twice", "always, first, never"}},
      {"/pre_tokenizer",
       {{"type", "Metaspace"},
        {"replacement", "▁"},
        {"add_prefix_space", false},
        {"prepend_scheme", "first"}},
       {"prepend_scheme", "never", "first"}},
      {"/pre_tokenizer", {{"type", "UnicodeScripts"}}, {"pre_tokenizer.type", "UnicodeScripts", "Metaspace"}},
      {"/decoder/decoders/1/type", "WordPiece", {"decoders[1].type", "WordPiece", "ByteFallback"}},
      {"/decoder/decoders/3/stop", 1, {"decoders[3].stop", "1", "0 after Fuse"}},
      {"/decoder/decoders/3/start", "x", {"decoders[3].start", "count", "x"}},
      {"/decoder/decoders/3/type", "Replace", {"decoders[3].type", "Replace"}},
      {"/decoder/decoders/0/pattern", {{"Regex", "x"}}, {"decoders[0].pattern", "String"}},
  };
  for (const BadFile& bad : files) {
    Json file = base_file();
    file[Json::json_pointer(bad.pointer)] = bad.value;
    const auto tokenizer = load(file);
    ASSERT_FALSE(tokenizer) << bad.pointer << bad.value;
    for (const char* part : bad.message) EXPECT_THAT(tokenizer.error().message(), HasSubstr(part));
  }
}

}  // namespace
}  // namespace concertina::tokenizer
