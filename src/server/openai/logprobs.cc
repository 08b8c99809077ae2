#include "server/openai/logprobs.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace concertina::server::openai {

namespace {

using request::TokenLogprob;

void append_number(float logprob, std::string& out) {
  if (std::isnan(logprob)) {
    out += "null";
  } else if (std::isinf(logprob)) {
    out += "-9999.0";
  } else {
    fmt::format_to(std::back_inserter(out), "{}", logprob);
  }
}

void append_comma(std::string& list) {
  if (!list.empty()) list += ',';
}

}  // namespace

std::size_t n_characters(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char byte) { return (static_cast<unsigned char>(byte) & 0xc0) != 0x80; }));
}

void LogprobLists::add(TokenId token, Logprobs logprobs, std::size_t offset) {
  if (endpoint_ != Endpoint::kCompletions && logprobs.empty()) return;
  rows_.push_back({token, offset, logprobs.size()});
  logprobs_.insert(logprobs_.end(), logprobs.begin(), logprobs.end());
}

std::string LogprobLists::take(TokenNames& names) {
  if (empty()) return "null";
  std::string out = endpoint_ != Endpoint::kCompletions ? chat(names) : completion(names);
  rows_.clear();
  logprobs_.clear();
  return out;
}

void LogprobLists::append_object(const TokenLogprob& one, TokenNames& names, std::string& out) const {
  const TokenNames::Members& token = names.of(one.token, endpoint_, as_);
  out += R"("token":)";
  out += token.name;
  out += R"(,"logprob":)";
  append_number(one.logprob, out);
  out += R"(,"bytes":)";
  out += token.bytes;
}

std::string LogprobLists::chat(TokenNames& names) const {
  std::string out = R"({"content":[)";
  std::size_t at = 0;
  for (const Row& row : rows_) {
    const Logprobs all = Logprobs(logprobs_).subspan(at, row.n_logprobs);
    out += at == 0 ? "{" : ",{";
    append_object(all[0], names, out);
    out += R"(,"top_logprobs":[)";
    for (std::size_t k = 1; k < all.size(); ++k) {
      out += k == 1 ? "{" : ",{";
      append_object(all[k], names, out);
      out += '}';
    }
    out += "]}";
    at += row.n_logprobs;
  }
  return out += R"(],"refusal":null})";
}

// The token itself, too, though it may not be among the highest. Two ids of the same text are one member, the
// likelier one's.
void LogprobLists::append_top(Logprobs logprobs, TokenNames& names, std::string& out) const {
  std::array<std::string, 1 + request::kMaxLogprobs> told;
  std::size_t n_told = 0;
  out += '{';
  for (const TokenLogprob& one : logprobs) {
    const std::string& name = names.of(one.token, endpoint_, as_).name;
    const auto end = told.begin() + static_cast<std::ptrdiff_t>(n_told);
    if (std::find(told.begin(), end, name) != end || n_told == told.size()) continue;
    if (n_told > 0) out += ',';
    out += name;
    out += ':';
    append_number(one.logprob, out);
    told[n_told++] = name;
  }
  out += '}';
}

std::string LogprobLists::completion(TokenNames& names) const {
  std::string offsets, numbers, tokens, tops;
  std::size_t at = 0;
  for (const Row& row : rows_) {
    const Logprobs all = Logprobs(logprobs_).subspan(at, row.n_logprobs);
    for (std::string* list : {&offsets, &numbers, &tokens, &tops}) append_comma(*list);
    fmt::format_to(std::back_inserter(offsets), "{}", row.offset);
    tokens += names.of(row.token, endpoint_, as_).name;
    if (all.empty()) {
      numbers += "null";
      tops += "null";
    } else {
      append_number(all[0].logprob, numbers);
      append_top(all, names, tops);
    }
    at += row.n_logprobs;
  }
  return fmt::format(R"({{"text_offset":[{}],"token_logprobs":[{}],"tokens":[{}],"top_logprobs":[{}]}})",
                     offsets, numbers, tokens, tops);
}

std::size_t PromptLogprobList::n_logprobs() const {
  std::size_t n = 0;
  for (const auto& scored : scored_) n += scored.logprobs.size();
  return n;
}

void PromptLogprobList::append_row(const request::PromptLogprobs& scored, std::size_t i, TokenNames& names,
                                   std::string& out) const {
  const auto each = std::span(scored.logprobs).subspan(i * scored.n_each, scored.n_each);
  out += ",{";
  for (std::size_t k = 0; k < std::min(each.size(), 1 + n_top_); ++k) {
    if (k > 0 && each[k].token == each[0].token) continue;
    fmt::format_to(std::back_inserter(out), R"({}"{}":{{"logprob":)", k == 0 ? "" : ",", each[k].token);
    append_number(each[k].logprob, out);
    fmt::format_to(std::back_inserter(out), R"(,"rank":{},"decoded_token":{}}})",
                   k == 0 ? scored.ranks[i] : k,
                   names.of(each[k].token, Endpoint::kCompletions, TokensAs::kText).name);
  }
  out += '}';
}

std::string PromptLogprobList::whole(TokenNames& names) const {
  std::string out = "[null";
  for (const auto& scored : scored_)
    for (std::size_t i = 0; i < scored.ranks.size(); ++i) append_row(scored, i, names, out);
  return out += ']';
}

}  // namespace concertina::server::openai
