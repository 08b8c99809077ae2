#include "tokenizer/token_decoder.h"

#include <utility>

#include "tokenizer/byte_level.h"
#include "tokenizer/normalizer.h"

namespace concertina::tokenizer {

namespace {

std::string strip(const StripEdit& edit, std::string_view text) {
  for (std::size_t n = 0; n < edit.n_begin && text.starts_with(edit.content); ++n) {
    text.remove_prefix(edit.content.size());
  }
  for (std::size_t n = 0; n < edit.n_end && text.ends_with(edit.content); ++n) {
    text.remove_suffix(edit.content.size());
  }
  return std::string(text);
}

Replaced replaced_by(const DecoderPlan& plan) {
  return plan.bytes == DecoderPlan::Bytes::kFallback ? Replaced::kByte : Replaced::kSubpart;
}

}  // namespace

TokenDecoder::TokenDecoder(const Vocabulary& vocabulary, DecoderPlan plan)
    : plan_(std::move(plan)), bytes_(vocabulary.n_ids()), byte_(vocabulary.n_ids()) {
  for (std::size_t i = 0; i < bytes_.size(); ++i) {
    std::string text = decoded(vocabulary.text_of(static_cast<TokenId>(i)), TokenPlace::kInside);
    const auto byte =
        plan_.bytes == DecoderPlan::Bytes::kFallback ? byte_of_fallback_token(text) : std::nullopt;
    byte_[i] = byte.has_value();
    bytes_[i] = byte ? std::string(1, static_cast<char>(*byte)) : std::move(text);
  }
}

std::string_view TokenDecoder::bytes_of(TokenId id) const {
  return id >= 0 && index(id) < bytes_.size() ? std::string_view(bytes_[index(id)]) : std::string_view();
}

std::string TokenDecoder::first_bytes_of(const Vocabulary& vocabulary, TokenId id) const {
  return is_byte(id) ? std::string(bytes_of(id)) : decoded(vocabulary.text_of(id), TokenPlace::kFirst);
}

std::string TokenDecoder::decoded(std::string_view token_text, TokenPlace place) const {
  if (plan_.bytes == DecoderPlan::Bytes::kByteLevel) return token_bytes(token_text);
  std::string text(token_text);
  for (const TokenEdit& edit : plan_.edits) {
    if (const auto* replace = std::get_if<ReplaceEdit>(&edit)) {
      text = replace_all(text, replace->pattern, replace->content);
    } else if (const auto* stripped = std::get_if<StripEdit>(&edit)) {
      text = strip(*stripped, text);
    } else {
      const auto& metaspace = std::get<MetaspaceEdit>(edit);
      const bool dropped = place == TokenPlace::kFirst && metaspace.first == MetaspaceEdit::First::kDropped;
      text = replace_all(text, metaspace.replacement, dropped ? "" : " ");
    }
  }
  return text;
}

TextDecoder::TextDecoder(const Vocabulary& vocabulary, const TokenDecoder& decoder, TextBegin begin)
    : vocabulary_(&vocabulary),
      decoder_(&decoder),
      stream_(replaced_by(decoder.plan())),
      at_first_token_(begin == TextBegin::kHere),
      strip_(begin == TextBegin::kHere ? 0 : decoder.plan().text_begin.size()) {}

void TextDecoder::push(TokenId id, std::string& out) {
  if (!vocabulary_->contains(id)) return;
  const std::size_t begin = out.size();
  push_token(id, out);
  strip_begin(begin, out);
}

void TextDecoder::flush(std::string& out) {
  const std::size_t begin = out.size();
  stream_.flush(out);
  strip_begin(begin, out);
}

void TextDecoder::push_token(TokenId id, std::string& out) {
  const bool first = std::exchange(at_first_token_, false);
  if (decoder_->plan().bytes == DecoderPlan::Bytes::kFallback && !decoder_->is_byte(id)) stream_.flush(out);
  if (first && decoder_->plan().bytes != DecoderPlan::Bytes::kByteLevel) {
    return stream_.push(decoder_->first_bytes_of(*vocabulary_, id), out);
  }
  stream_.push(decoder_->bytes_of(id), out);
}

// `out` from `begin` on is the text's next part: its beginning is stripped as long as one of the plan's
// strips is under way.
void TextDecoder::strip_begin(std::size_t begin, std::string& out) {
  const auto& strips = decoder_->plan().text_begin;
  while (strip_ < strips.size() && begin < out.size()) {
    const StripEdit& edit = strips[strip_];
    if (n_stripped_ < edit.n_begin && std::string_view(out).substr(begin).starts_with(edit.content)) {
      out.erase(begin, edit.content.size());
      ++n_stripped_;
    } else {
      ++strip_;
      n_stripped_ = 0;
    }
  }
}

}  // namespace concertina::tokenizer
