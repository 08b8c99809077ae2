#include "tokenizer/tokenizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "tokenizer/tokenizer_state.h"
#include "tokenizer/utf8.h"

namespace concertina::tokenizer {

Tokenizer::Tokenizer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Tokenizer::~Tokenizer() = default;

std::string Tokenizer::State::normalize(std::string_view text) const {
  if (normalizer == Normalizer::kNone) return std::string(text);
  utf8proc_uint8_t* composed = nullptr;
  const utf8proc_ssize_t length = utf8proc_map(
      reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
      &composed, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  if (length < 0) return std::string(text);
  std::string out(reinterpret_cast<const char*>(composed), static_cast<std::size_t>(length));
  std::free(composed);
  return out;
}

void Tokenizer::State::encode_plain(std::string_view text, std::vector<TokenId>& out) const {
  if (text.empty()) return;
  std::string normalized = normalize(text);
  if (prefix_space == PrefixSpace::kYes && normalized[0] != ' ') normalized.insert(0, " ");
  std::vector<std::string_view> pieces{normalized}, next;
  for (const SplitExpression& split : splits) {
    next.clear();
    for (const std::string_view piece : pieces) split.split(piece, next);
    pieces.swap(next);
  }
  for (const std::string_view piece : pieces) encoder.encode(piece, out);
}

const AddedToken* Tokenizer::State::added_at(std::string_view text, std::size_t place) const {
  const auto is_word = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || (c & 0x80);
  };
  for (const AddedToken& token : added) {
    if (text.compare(place, token.content.size(), token.content) != 0) continue;
    const std::size_t end = place + token.content.size();
    const bool touches = (place > 0 && is_word(text[place - 1])) || (end < text.size() && is_word(text[end]));
    if (token.match == AddedToken::Match::kWholeWord && touches) continue;
    return &token;
  }
  return nullptr;
}

std::vector<TokenId> Tokenizer::encode(std::string_view input, AddSpecialTokens add) const {
  const std::string text = to_valid_utf8(input);
  std::vector<TokenId> out;
  if (add == AddSpecialTokens::kYes) out = state_->prefix_ids;
  std::string first_bytes;
  for (const AddedToken& token : state_->added) first_bytes.push_back(token.content[0]);
  std::size_t done = 0, place = text.find_first_of(first_bytes);
  while (place != std::string::npos && !first_bytes.empty()) {
    const AddedToken* const token = state_->added_at(text, place);
    if (token == nullptr) {
      place = text.find_first_of(first_bytes, place + 1);
      continue;
    }
    std::size_t begin = place, end = place + token->content.size();
    if (token->left == AddedToken::Strip::kYes) {
      while (begin > done && std::isspace(static_cast<unsigned char>(text[begin - 1]))) --begin;
    }
    if (token->right == AddedToken::Strip::kYes) {
      while (end < text.size() && std::isspace(static_cast<unsigned char>(text[end]))) ++end;
    }
    state_->encode_plain(std::string_view(text).substr(done, begin - done), out);
    out.push_back(token->id);
    done = end;
    place = text.find_first_of(first_bytes, done);
  }
  state_->encode_plain(std::string_view(text).substr(done), out);
  if (add == AddSpecialTokens::kYes)
    out.insert(out.end(), state_->suffix_ids.begin(), state_->suffix_ids.end());
  return out;
}

std::string Tokenizer::decode(std::span<const TokenId> ids, SpecialTokens special) const {
  std::string bytes;
  for (const TokenId id : ids) {
    if (special == SpecialTokens::kKeep || !is_special(id)) bytes += bytes_of(id);
  }
  return to_valid_utf8(bytes);
}

std::string_view Tokenizer::bytes_of(TokenId id) const {
  return id >= 0 && static_cast<std::size_t>(id) < state_->bytes.size() ? std::string_view(state_->bytes[id])
                                                                        : std::string_view();
}

bool Tokenizer::is_special(TokenId id) const {
  return id >= 0 && static_cast<std::size_t>(id) < state_->special.size() && state_->special[id] != 0;
}

std::optional<TokenId> Tokenizer::find(std::string_view content) const {
  for (const AddedToken& token : state_->added) {
    if (token.content == content) return token.id;
  }
  return std::nullopt;
}

std::size_t Tokenizer::vocab_size() const { return state_->bytes.size(); }
const std::string& Tokenizer::bos_token() const { return state_->bos_token; }
const std::string& Tokenizer::eos_token() const { return state_->eos_token; }

std::string StreamingDetokenizer::push(TokenId id) {
  if (special_ == SpecialTokens::kSkip && tokenizer_->is_special(id)) return {};
  pending_ += tokenizer_->bytes_of(id);
  const std::size_t n = complete_length(pending_);
  std::string text = to_valid_utf8(std::string_view(pending_).substr(0, n));
  pending_.erase(0, n);
  return text;
}

std::string StreamingDetokenizer::flush() { return to_valid_utf8(std::exchange(pending_, {})); }

}  // namespace concertina::tokenizer
