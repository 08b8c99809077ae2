#include "tokenizer/tokenizer.h"

#include "tokenizer/tokenizer_file.h"
#include "tokenizer/utf8.h"

namespace concertina::tokenizer {

namespace {

// One call of encode.
class Encoder {
 public:
  Encoder(const TokenizerParts& parts, std::vector<TokenId>& out) : parts_(parts), out_(out) {}

  void encode(std::string_view text) {
    parts_.raw_matcher->split(text, [&](std::string_view part, std::optional<TokenId> id) {
      if (id) return out_.push_back(*id);
      if (*parts_.normalization == Normalization::kNone) return encode_normalized(part);
      encode_normalized(normalize(*parts_.normalization, part));
    });
  }

 private:
  void encode_normalized(std::string_view text) {
    parts_.normalized_matcher->split(text, [&](std::string_view part, std::optional<TokenId> id) {
      if (id) return out_.push_back(*id);
      parts_.pre_tokenizer->split(
          part, [&](std::string_view piece) { parts_.model.encode(piece, scratch_, out_); });
    });
  }

  const TokenizerParts& parts_;
  std::vector<TokenId>& out_;
  BpeModel::Scratch scratch_;
};

}  // namespace

Result<Tokenizer> Tokenizer::load(const std::filesystem::path& model_folder) {
  ASSIGN_OR_RETURN(auto parts, load_tokenizer_parts(model_folder));
  return Tokenizer(std::move(parts));
}

std::vector<TokenId> Tokenizer::encode(std::string_view text, AddSpecialTokens add) const {
  std::vector<TokenId> ids;
  if (add == AddSpecialTokens::kYes) ids = parts_->prefix;
  Encoder encoder(*parts_, ids);
  if (is_valid_utf8(text)) {
    encoder.encode(text);
  } else {
    encoder.encode(replace_invalid_utf8(text));
  }
  if (add == AddSpecialTokens::kYes) ids.insert(ids.end(), parts_->suffix.begin(), parts_->suffix.end());
  return ids;
}

std::string Tokenizer::decode(std::span<const TokenId> ids, SkipSpecialTokens skip) const {
  std::string text;
  Utf8Stream stream;
  for (const TokenId id : ids) {
    if (skip == SkipSpecialTokens::kYes && is_special(id)) continue;
    stream.push(token_bytes(id), text);
  }
  stream.flush(text);
  return text;
}

std::size_t Tokenizer::most_bytes_per_token() const { return parts_->most_bytes_per_token; }

std::size_t Tokenizer::vocab_size() const { return parts_->vocabulary.n_ids(); }

std::optional<TokenId> Tokenizer::token_to_id(std::string_view text) const {
  return parts_->vocabulary.id_of(text);
}

std::string_view Tokenizer::token_text(TokenId id) const { return parts_->vocabulary.text_of(id); }

std::string_view Tokenizer::token_bytes(TokenId id) const { return parts_->vocabulary.bytes_of(id); }

bool Tokenizer::is_special(TokenId id) const {
  return parts_->vocabulary.contains(id) && parts_->special[static_cast<std::size_t>(id)];
}

const SpecialTokens& Tokenizer::special_tokens() const { return parts_->special_tokens; }

}  // namespace concertina::tokenizer
