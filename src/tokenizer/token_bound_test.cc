#include "tokenizer/token_bound.h"

#include <gtest/gtest.h>
#include <utf8proc.h>

#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "tokenizer/test_folder.h"
#include "tokenizer/tokenizer.h"

namespace concertina::tokenizer {
namespace {

using Json = nlohmann::ordered_json;

const std::filesystem::path kDemo = std::filesystem::path(CONCERTINA_SOURCE_DIR) / "models/demo";
constexpr std::size_t kNoBound = std::numeric_limits<std::size_t>::max();

std::size_t n_bytes(char32_t code_point) {
  std::string text;
  append_utf8(code_point, text);
  return text.size();
}

std::vector<utf8proc_int32_t> decomposed(NormalForm form, char32_t code_point) {
  const bool compatible = form == NormalForm::kNfkc || form == NormalForm::kNfkd;
  std::vector<utf8proc_int32_t> out(32);
  int boundary_class = 0;
  out.resize(static_cast<std::size_t>(utf8proc_decompose_char(
      static_cast<utf8proc_int32_t>(code_point), out.data(), 32,
      static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0)),
      &boundary_class)));
  return out;
}

// Each character's bytes are shared out among what it decomposes to, in proportion to their lengths; a
// composed character gathers the largest shares of its parts.
void expect_no_longer_text_before(NormalForm form) {
  std::map<utf8proc_int32_t, double> most_of_part;
  const auto for_each_character = [](const auto& visit) {
    for (char32_t c = 0; c < 0x110000; ++c) {
      if (c < 0xD800 || c > 0xDFFF) visit(c);
    }
  };
  for_each_character([&](char32_t c) {
    std::size_t n_in_parts = 0;
    for (const auto part : decomposed(form, c)) n_in_parts += n_bytes(static_cast<char32_t>(part));
    const double scale = std::max(1.0, static_cast<double>(n_bytes(c)) / static_cast<double>(n_in_parts));
    for (const auto part : decomposed(form, c)) {
      double& most = most_of_part[part];
      most = std::max(most, scale * static_cast<double>(n_bytes(static_cast<char32_t>(part))));
    }
  });
  for_each_character([&](char32_t c) {
    std::string text;
    append_utf8(c, text);
    if (to_normal_form(form, text) != text) return;  // no text has it in normal form
    double most = 0;
    for (const auto part : decomposed(form, c)) most += most_of_part[part];
    ASSERT_GE(static_cast<double>(most_bytes_before(form, c)) + 1e-9, most)
        << "U+" << std::hex << static_cast<std::uint32_t>(c);
  });
}

TEST(TokenBound, CountsTheLongestTextThatEachCharacterIsTheNormalFormOf) {
  for (const auto form : {NormalForm::kNfc, NormalForm::kNfd, NormalForm::kNfkc, NormalForm::kNfkd}) {
    expect_no_longer_text_before(form);
  }
  EXPECT_EQ(most_bytes_before(NormalForm::kNfc, U'a'),
            1u);  // prose is not charged for what only rare characters do
}

Json demo_file() { return Json::parse(std::ifstream(kDemo / "tokenizer.json")); }

std::size_t bound_of(const Json& file) {
  return Tokenizer::load(TestFolder(file.dump()).path()).value().most_bytes_per_token();
}

TEST(TokenBound, RefusesNoTextThatFits) {
  const Tokenizer tokenizer = Tokenizer::load(kDemo).value();
  const std::size_t bound = tokenizer.most_bytes_per_token();
  ASSERT_LT(bound, 1000u);
  std::vector<std::string> texts = {"\u1FBE\u0308\u0301", "\u1112\u1161\u11AB", "\u212A\u1FEF\u037E",
                                    "\xF0\x90\x80", "日"};
  for (std::size_t id = 0; id < tokenizer.vocab_size(); ++id) {
    texts.emplace_back(tokenizer.token_bytes(static_cast<TokenId>(id)));
  }
  for (const std::string& text : texts) {
    std::string many;
    for (int i = 0; i < 50; ++i) many += text;
    EXPECT_LE(many.size(), bound * tokenizer.encode(many, AddSpecialTokens::kNo).size()) << text;
  }
}

TEST(TokenBound, IsThereOnlyWhereATokenCannotStandForAnyAmountOfText) {
  Json file = demo_file();
  EXPECT_LT(bound_of(file), 1000u);
  file["added_tokens"].push_back({{"id", 4096}, {"content", "<r>"}, {"rstrip", true}});
  EXPECT_EQ(bound_of(file), kNoBound);
  file = demo_file();
  file["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "Removed";
  EXPECT_EQ(bound_of(file), kNoBound);
  file = demo_file();
  file["normalizer"] = nullptr;
  const std::size_t as_it_comes = bound_of(file);
  EXPECT_LE(as_it_comes, bound_of(demo_file()));
  file["added_tokens"].push_back({{"id", 4096}, {"content", std::string(5000, 'x')}});
  EXPECT_EQ(bound_of(file), 5000u);
}

TEST(TokenBound, KnowsWhatBecomesOfBytesWithoutAToken) {
  Json file = demo_file();
  std::string taken;
  for (const auto& [text, id] : file["model"]["vocab"].items()) {
    if (id == 255) taken = text;
  }
  file["model"]["merges"] = Json::array();
  file["model"]["vocab"].erase(taken);
  EXPECT_EQ(bound_of(file), kNoBound);  // left out
  file["model"]["unk_token"] = "<|endoftext|>";
  EXPECT_LT(bound_of(file), 1000u);  // an unknown token each
  file["model"]["fuse_unk"] = true;
  EXPECT_EQ(bound_of(file), kNoBound);  // one unknown token for any number
}

}  // namespace
}  // namespace concertina::tokenizer
