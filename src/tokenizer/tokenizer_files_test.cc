#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tokenizer/test_folder.h"
#include "tokenizer/tokenizer.h"

namespace concertina::tokenizer {
namespace {

using Json = nlohmann::ordered_json;
using testing::HasSubstr;

const std::filesystem::path kDemo = std::filesystem::path(CONCERTINA_SOURCE_DIR) / "models/demo";

const Json& demo_file() {
  static const Json file = Json::parse(std::ifstream(kDemo / "tokenizer.json"));
  return file;
}

struct BadFile {
  const char* story;
  const char* pointer;  // what is set to `value` in the demo model's file; null: taken away
  Json value;
  TokenizerError code;
  std::vector<const char*> message;  // parts of it
};

void expect_error(const Error& error, TokenizerError code, const std::vector<const char*>& parts,
                  const char* story) {
  EXPECT_TRUE(error.is(code)) << story << ": " << error.message();
  EXPECT_THAT(error.message(), HasSubstr("tokenizer")) << story;  // the file's name
  for (const char* part : parts) EXPECT_THAT(error.message(), HasSubstr(part)) << story;
}

TEST(TokenizerFile, ThatIsBadOrAsksForMoreThanWeDoIsRefusedByFieldAndValue) {
  const auto kInvalid = TokenizerError::kInvalid, kUnsupported = TokenizerError::kUnsupported;
  const Json special = {{"id", 4096}, {"content", "<x>"}};
  const BadFile files[] = {
      {"WordPiece", "/model/type", "WordPiece", kUnsupported, {"model.type", "WordPiece", "BPE"}},
      {"Unigram", "/model/type", "Unigram", kUnsupported, {"model.type", "Unigram"}},
      {"byte fallback of bytes",
       "/model/byte_fallback",
       true,
       kUnsupported,
       {"model.byte_fallback", "true", "false, with a ByteLevel"}},
      {"dropout", "/model/dropout", 0.1, kUnsupported, {"model.dropout", "0.1"}},
      {"a prefix",
       "/model/continuing_subword_prefix",
       "##",
       kUnsupported,
       {"continuing_subword_prefix", "##"}},
      {"a suffix", "/model/end_of_word_suffix", "</w>", kUnsupported, {"end_of_word_suffix"}},
      {"no model", "/model", nullptr, kInvalid, {"model"}},
      {"no vocabulary", "/model/vocab", nullptr, kInvalid, {"model", "vocab"}},
      {"no merges", "/model/merges", nullptr, kInvalid, {"model", "merges"}},
      {"vocabulary of another type", "/model/vocab", Json::array(), kInvalid, {"model.vocab"}},
      {"empty vocabulary", "/model/vocab", Json::object(), kInvalid, {"model.merges", "no token"}},
      {"an id too large", "/model/vocab/a", 4000000000u, kInvalid, {"model.vocab", "\"a\"", "4000000000"}},
      {"a huge id", "/model/vocab/a", 1e30, kInvalid, {"model.vocab", "\"a\""}},
      {"a negative id", "/model/vocab/a", -1, kInvalid, {"model.vocab", "\"a\"", "-1"}},
      {"an id that is a text", "/model/vocab/a", "1", kInvalid, {"model.vocab", "\"a\""}},
      {"an id twice", "/model/vocab/a", 65, kInvalid, {"model.vocab", "\"a\"", "\"b\"", "65"}},
      {"a merge of an unknown token",
       "/model/merges/3",
       {"a", "日"},
       kInvalid,
       {"merge 3", "日", "no token"}},
      {"a merge to an unknown token", "/model/merges/3", {"Q", "Q"}, kInvalid, {"merge 3", "QQ"}},
      {"a merge of three", "/model/merges/3", {"a", "b", "c"}, kInvalid, {"merge 3"}},
      {"a merge line of three", "/model/merges/3", "a b c", kInvalid, {"merge 3"}},
      {"a merge that is a number", "/model/merges/3", 7, kInvalid, {"merge 3"}},
      {"merges of another type", "/model/merges", "a b", kInvalid, {"model.merges"}},
      {"an unknown unk", "/model/unk_token", "<none>", kInvalid, {"unk_token", "<none>"}},
      {"a flag that is none", "/model/ignore_merges", "yes", kInvalid, {"ignore_merges", "yes"}},
      {"another normalizer",
       "/normalizer/type",
       "Lowercase",
       kUnsupported,
       {"normalizer.type", "Lowercase", "NFC"}},
      {"a normalizer without type", "/normalizer", Json::object(), kInvalid, {"normalizer", "type"}},
      {"another pre-tokenizer",
       "/pre_tokenizer/pretokenizers/0/type",
       "BertPreTokenizer",
       kUnsupported,
       {"pretokenizers[0].type", "BertPreTokenizer", "Metaspace", "ByteLevel"}},
      {"ByteLevel before another",
       "/pre_tokenizer/pretokenizers/0/type",
       "ByteLevel",
       kUnsupported,
       {"pretokenizers[0].type", "ByteLevel (last)"}},
      {"a bad expression",
       "/pre_tokenizer/pretokenizers/0/pattern/Regex",
       "(",
       kInvalid,
       {"pretokenizers[0].pattern"}},
      {"no pattern",
       "/pre_tokenizer/pretokenizers/0/pattern",
       nullptr,
       kInvalid,
       {"pretokenizers[0]", "pattern"}},
      {"a bad behavior",
       "/pre_tokenizer/pretokenizers/0/behavior",
       "Eaten",
       kUnsupported,
       {"behavior", "Eaten"}},
      {"another decoder", "/decoder/type", "WordPiece", kUnsupported, {"decoder.type", "WordPiece"}},
      {"no decoder", "/decoder", nullptr, kInvalid, {"decoder"}},
      {"another post-processor",
       "/post_processor/type",
       "BertProcessing",
       kUnsupported,
       {"post_processor.type", "Bert"}},
      {"added token of a taken id", "/added_tokens/0/id", 5, kInvalid, {"<|endoftext|>", "5"}},
      {"added token with a huge id",
       "/added_tokens/0/id",
       99999999999,
       kInvalid,
       {"added_tokens[0].id", "99999999999"}},
      {"added token without text",
       "/added_tokens/0/content",
       nullptr,
       kInvalid,
       {"added_tokens[0]", "content"}},
      {"added token with empty text", "/added_tokens/0/content", "", kInvalid, {"added_tokens[0].content"}},
      {"added tokens of another type", "/added_tokens", "x", kInvalid, {"added_tokens"}},
  };
  for (const BadFile& bad : files) {
    Json file = demo_file();
    const Json::json_pointer pointer(bad.pointer);
    if (bad.value.is_null() && file[pointer.parent_pointer()].is_array()) {
      file[pointer.parent_pointer()].erase(std::stoul(pointer.back()));
    } else if (bad.value.is_null()) {
      file[pointer.parent_pointer()].erase(pointer.back());
    } else {
      file[pointer] = bad.value;
    }
    const TestFolder folder(file.dump());
    const auto tokenizer = Tokenizer::load(folder.path());
    ASSERT_FALSE(tokenizer) << bad.story;
    expect_error(tokenizer.error(), bad.code, bad.message, bad.story);
  }
}

TEST(TokenizerFile, CutAnywhereIsAnErrorAndNoCrash) {
  const std::string whole = demo_file().dump();
  for (std::size_t n = 0; n < whole.size(); n += 1 + whole.size() / 97) {
    const TestFolder folder(whole.substr(0, n));
    const auto tokenizer = Tokenizer::load(folder.path());
    ASSERT_FALSE(tokenizer) << n;
    expect_error(tokenizer.error(), TokenizerError::kInvalid, {"tokenizer.json"}, "cut");
  }
}

TEST(TokenizerFile, ThatIsNotThereIsMissing) {
  const TestFolder folder;
  EXPECT_TRUE(Tokenizer::load(folder.path()).error().is(TokenizerError::kMissing));
}

TEST(TokenizerFile, OfOtherTopLevelTypesIsInvalid) {
  for (const char* text : {"[]", "1", "null", "\"x\"", "{}"}) {
    const TestFolder folder(text);
    EXPECT_TRUE(Tokenizer::load(folder.path()).error().is(TokenizerError::kInvalid)) << text;
  }
}

TEST(TokenizerConfig, AddsItsTokensAndRoles) {
  TestFolder folder(demo_file().dump());
  folder.write("tokenizer_config.json", R"({"bos_token": {"content": "<|endoftext|>"}, "eos_token": "Hello",
      "added_tokens_decoder": {"5000": {"content": "<extra>", "special": true}}, "tokenizer_class": "LlamaTokenizerFast"})");
  const Tokenizer tokenizer = Tokenizer::load(folder.path()).value();
  EXPECT_EQ(tokenizer.vocab_size(), 5001u);
  EXPECT_EQ(tokenizer.special_tokens().bos, "<|endoftext|>");
  EXPECT_TRUE(tokenizer.is_special(5000));
  EXPECT_TRUE(tokenizer.is_special(*tokenizer.token_to_id("Hello")));  // eos, though no added token
  EXPECT_EQ(tokenizer.encode("<extra>", AddSpecialTokens::kYes), (std::vector<TokenId>{4093, 5000}));
  EXPECT_EQ(tokenizer.encode("<extra>", AddSpecialTokens::kNo), (std::vector<TokenId>{5000}));
}

TEST(TokenizerConfig, ThatIsBadIsRefusedByField) {
  const std::pair<const char*, const char*> files[] = {
      {R"({"bos_token": 1})", "bos_token"},
      {R"({"eos_token": {"text": "x"}})", "eos_token"},
      {R"({"added_tokens_decoder": {"x": {"content": "y"}}})", "added_tokens_decoder"},
      {R"({"added_tokens_decoder": {"99999999999": {"content": "y"}}})", "added_tokens_decoder"},
      {R"({"added_tokens_decoder": {"7": {"content": "<new>"}}})", "<new>"},
      {R"({"tokenizer_class": "LlamaTokenizerFast"})", "add_bos_token"},
      {R"({"tokenizer_class": "LlamaTokenizerFast", "bos_token": "<nope>"})", "<nope>"},
      {R"({"chat_template": 7})", "chat_template"},
      {R"({"chat_template": [{"name": "default"}]})", "template"},
      {R"(["x"])", "expected an object"},
      {R"({"x": )", "not valid JSON"}};
  for (const auto& [text, part] : files) {
    TestFolder folder(demo_file().dump());
    folder.write("tokenizer_config.json", text);
    const auto tokenizer = Tokenizer::load(folder.path());
    ASSERT_FALSE(tokenizer) << text;
    expect_error(tokenizer.error(), TokenizerError::kInvalid, {part}, text);
  }
}

// What transformers writes for "no limit", and other numbers that Python's json takes and strict JSON does
// not.
TEST(TokenizerConfig, LoadsAsPythonWritesIt) {
  for (
      const char* text :
      {R"({"model_max_length": 1000000000000000019884624838656})", R"({"model_max_length": 1e30})",
       R"({"model_max_length": NaN, "x": [Infinity, -Infinity, 1e999, -99999999999999999999]})",
       "\xEF\xBB\xBF{\"bos_token\": null}",
       R"({"nobody": {"uses": [7, null, {"this": "NaN"}]}, "clean_up": 1.0})",
       R"({"added_tokens_decoder": {"4093": {"content": "<|endoftext|>", "special": true, "of": "no use"}}})",
       R"({"tokenizer_class": null, "add_bos_token": null, "chat_template": null, "added_tokens_decoder": null})"}) {
    TestFolder folder(demo_file().dump());
    folder.write("tokenizer_config.json", text);
    const auto tokenizer = Tokenizer::load(folder.path());
    ASSERT_TRUE(tokenizer) << text << ": " << tokenizer.error().message();
    EXPECT_EQ(tokenizer->vocab_size(), 4096u);
  }
}

TEST(TokenizerConfig, OfANameThatIsThereTwiceTheLastCountsAsInPython) {
  TestFolder folder(demo_file().dump());
  folder.write("tokenizer_config.json", R"({"eos_token": "a", "eos_token": "<|endoftext|>"})");
  EXPECT_EQ(Tokenizer::load(folder.path()).value().special_tokens().eos, "<|endoftext|>");
}

TEST(TokenizerConfig, NamesTheFieldWhereANumberThatIsNoneMatters) {
  const std::pair<const char*, std::vector<const char*>> files[] = {
      {R"({"bos_token": NaN})", {"bos_token", "NaN"}},
      {R"({"add_bos_token": Infinity})", {"add_bos_token", "true or false", "Infinity"}},
      {R"({"chat_template": -Infinity})", {"chat_template", "-Infinity"}}};
  for (const auto& [text, parts] : files) {
    TestFolder folder(demo_file().dump());
    folder.write("tokenizer_config.json", text);
    const auto tokenizer = Tokenizer::load(folder.path());
    ASSERT_FALSE(tokenizer) << text;
    expect_error(tokenizer.error(), TokenizerError::kInvalid, parts, text);
  }
}

TEST(TokenizerFile, LoadsAsOtherToolsWriteIt) {
  std::string text = demo_file().dump();
  const auto replace_once = [&](const std::string& from, const std::string& to) {
    const std::size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
  };
  replace_once("{",
               R"({"nobody": [NaN, 123456789012345678901234567890], "truncation": {"max_length": 1e999},)");
  replace_once("\"id\":4093", "\"id\":4093.0");
  replace_once("\"vocab\":{", "\"vocab\":{\"tools write\":4.1e3,");
  const TestFolder folder("\xEF\xBB\xBF" + text);
  const auto tokenizer = Tokenizer::load(folder.path());
  ASSERT_TRUE(tokenizer) << tokenizer.error().message();
  EXPECT_EQ(tokenizer->token_to_id("tools write"), 4100);
  EXPECT_EQ(tokenizer->encode("Hello", AddSpecialTokens::kNo),
            Tokenizer::load(kDemo).value().encode("Hello", AddSpecialTokens::kNo));
  replace_once("4.1e3", "NaN");
  const TestFolder bad(text);
  expect_error(Tokenizer::load(bad.path()).error(), TokenizerError::kInvalid,
               {"model.vocab", "tools write", "an id from 0"}, "NaN as an id");
}

}  // namespace
}  // namespace concertina::tokenizer
