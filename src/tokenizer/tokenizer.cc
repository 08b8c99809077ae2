#include "tokenizer/tokenizer.h"

#include "base/utf8.h"
#include "tokenizer/tokenizer_file.h"

namespace concertina::tokenizer {

namespace {

// One call of encode.
class Encoder {
 public:
  Encoder(const TokenizerParts& parts, std::string_view text, std::vector<TokenId>& out)
      : parts_(parts), text_(text), out_(out), scratch_(text.size()) {}

  void encode() {
    parts_.raw_matcher->split(text_, [&](std::string_view part, std::optional<TokenId> id) {
      if (id) return out_.push_back(*id);
      const Place place = part.data() == text_.data() ? Place::kTextBegin : Place::kInside;
      encode_normalized(parts_.normalizer.apply(part, buffers_), place);
    });
  }

 private:
  void encode_normalized(std::string_view text, Place place) {
    parts_.normalized_matcher->split(text, [&](std::string_view part, std::optional<TokenId> id) {
      if (id) return out_.push_back(*id);
      parts_.pre_tokenizer.split(part, part.data() == text.data() ? place : Place::kInside,
                                 [&](std::string_view piece) { parts_.model.encode(piece, scratch_, out_); });
    });
  }

  const TokenizerParts& parts_;
  std::string_view text_;
  std::vector<TokenId>& out_;
  BpeModel::Scratch scratch_;
  Normalizer::Buffers buffers_;
};

}  // namespace

Result<Tokenizer> Tokenizer::load(const std::filesystem::path& model_folder) {
  ASSIGN_OR_RETURN(auto parts, load_tokenizer_parts(model_folder));
  return Tokenizer(std::move(parts));
}

std::vector<TokenId> Tokenizer::encode(std::string_view text, AddSpecialTokens add) const {
  std::vector<TokenId> ids;
  if (add == AddSpecialTokens::kYes) ids = parts_->prefix;
  if (is_valid_utf8(text)) {
    Encoder(*parts_, text, ids).encode();
  } else {
    Encoder(*parts_, replace_invalid_utf8(text), ids).encode();
  }
  if (add == AddSpecialTokens::kYes) ids.insert(ids.end(), parts_->suffix.begin(), parts_->suffix.end());
  return ids;
}

std::string Tokenizer::decode(std::span<const TokenId> ids, SkipSpecialTokens skip) const {
  std::string text;
  TextDecoder decoder(parts_->vocabulary, parts_->decoder, TextBegin::kHere);
  for (const TokenId id : ids) {
    if (skip == SkipSpecialTokens::kYes && is_special(id)) continue;
    decoder.push(id, text);
  }
  decoder.flush(text);
  return text;
}

TextDecoder Tokenizer::text_decoder(TextBegin begin) const {
  return TextDecoder(parts_->vocabulary, parts_->decoder, begin);
}

std::size_t Tokenizer::most_bytes_per_token() const { return parts_->most_bytes_per_token; }

std::size_t Tokenizer::vocab_size() const { return parts_->vocabulary.n_ids(); }

std::optional<TokenId> Tokenizer::token_to_id(std::string_view text) const {
  return parts_->vocabulary.id_of(text);
}

std::string_view Tokenizer::token_text(TokenId id) const { return parts_->vocabulary.text_of(id); }

std::string_view Tokenizer::token_bytes(TokenId id) const { return parts_->decoder.bytes_of(id); }

bool Tokenizer::is_special(TokenId id) const {
  return parts_->vocabulary.contains(id) && parts_->special[static_cast<std::size_t>(id)];
}

const SpecialTokens& Tokenizer::special_tokens() const { return parts_->special_tokens; }

}  // namespace concertina::tokenizer
