#include "tokenizer/added_tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace concertina::tokenizer {
namespace {

using testing::ElementsAre;

// Parts of the text, tokens as "id:text".
std::vector<std::string> split(std::vector<AddedToken> tokens, std::string_view text) {
  std::vector<std::string> parts;
  AddedTokenMatcher(std::move(tokens)).split(text, [&](std::string_view part, std::optional<TokenId> id) {
    parts.push_back((id ? std::to_string(*id) + ":" : "") + std::string(part));
  });
  return parts;
}

AddedToken token(TokenId id, std::string content) {
  AddedToken token;
  token.id = id;
  token.content = std::move(content);
  return token;
}

TEST(AddedTokens, AreFoundLeftmostThenLongest) {
  EXPECT_THAT(split({token(1, "<a"), token(2, "<a b>"), token(3, "a b")}, "<a b> <a b<a"),
              ElementsAre("2:<a b>", " ", "1:<a", " b", "1:<a"));
  EXPECT_THAT(split({}, "plain"), ElementsAre("plain"));
  EXPECT_THAT(split({token(1, "x")}, ""), ElementsAre());
}

TEST(AddedTokens, SingleWordsStandAlone) {
  AddedToken word = token(1, "word");
  word.single_word = true;
  EXPECT_THAT(split({word}, "word words _word word, éword wordé (word)"),
              ElementsAre("1:word", " words _word ", "1:word", ", éword wordé (", "1:word", ")"));
}

TEST(AddedTokens, TakeTheSpaceBesideThem) {
  AddedToken left = token(1, "<l>"), right = token(2, "<r>");
  left.lstrip = true;
  right.rstrip = true;
  EXPECT_THAT(split({left, right}, "a \u3000<l> b<r>\n <l>"),
              ElementsAre("a", "1: \u3000<l>", " b", "2:<r>\n ", "1:<l>"));
}

}  // namespace
}  // namespace concertina::tokenizer
