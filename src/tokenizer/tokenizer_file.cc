#include "tokenizer/tokenizer_file.h"

#include <fmt/format.h>

#include <algorithm>

#include "tokenizer/decoder_file.h"
#include "tokenizer/json_field.h"
#include "tokenizer/normalizer_file.h"
#include "tokenizer/post_processor_file.h"
#include "tokenizer/pre_tokenizer_file.h"
#include "tokenizer/token_bound.h"
#include "tokenizer/tokenizer_config.h"

namespace concertina::tokenizer {

namespace {

// What becomes of tokens that only tokenizer_config.json has: transformers adds them when it loads a
// tokenizer.
void add_missing(const std::vector<AddedToken>& more, std::vector<AddedToken>& tokens) {
  for (const AddedToken& token : more) {
    const bool known = std::any_of(tokens.begin(), tokens.end(),
                                   [&](const AddedToken& other) { return other.content == token.content; });
    if (!known) tokens.push_back(token);
  }
}

// A token with a role that is an entry of the model's vocabulary only becomes a special token.
void add_role(const std::optional<std::string>& text, const Vocabulary& vocabulary,
              std::vector<AddedToken>& tokens) {
  const auto id = text ? vocabulary.id_of(*text) : std::nullopt;
  if (!id) return;
  AddedToken token;
  token.id = *id;
  token.content = *text;
  token.special = true;
  add_missing({token}, tokens);
}

void add_matchers(const std::vector<AddedToken>& tokens, TokenizerParts& parts) {
  std::vector<AddedToken> raw, normalized;
  parts.special.resize(parts.vocabulary.n_ids());
  for (const AddedToken& token : tokens) {
    if (token.special) parts.special[static_cast<std::size_t>(token.id)] = true;
    (token.normalized ? normalized : raw).push_back(token);
  }
  for (AddedToken& token : normalized) token.content = parts.normalizer(token.content);
  parts.raw_matcher.emplace(std::move(raw));
  parts.normalized_matcher.emplace(std::move(normalized));
}

Result<std::shared_ptr<const TokenizerParts>> assemble(const JsonField& root, const TokenizerConfig& config) {
  ASSIGN_OR_RETURN(auto added, read_added_tokens(root));
  add_missing(config.added_tokens, added);
  ASSIGN_OR_RETURN(auto pre_tokenizer, read_pre_tokenizer(root));
  ASSIGN_OR_RETURN(auto model, read_model(root, pre_tokenizer.unit, added));
  ASSIGN_OR_RETURN(auto decoder, read_decoder(root));
  const auto parts = std::make_shared<TokenizerParts>(std::move(model), std::move(decoder));
  parts->pre_tokenizer = std::move(pre_tokenizer.pre_tokenizer);
  ASSIGN_OR_RETURN(parts->normalizer, read_normalizer(root));
  const SpecialTokens& roles = config.special_tokens;
  for (const auto* text : {&roles.bos, &roles.eos, &roles.unk, &roles.pad})
    add_role(*text, parts->vocabulary, added);
  parts->special_tokens = roles;
  ASSIGN_OR_RETURN(PromptTemplate around, read_post_processor(root, parts->vocabulary));
  RETURN_IF_ERROR(apply_config_template(config, parts->vocabulary, around));
  parts->prefix = std::move(around.prefix);
  parts->suffix = std::move(around.suffix);
  parts->most_bytes_per_token =
      most_bytes_per_token(parts->vocabulary, parts->model, added, parts->normalizer, parts->pre_tokenizer);
  add_matchers(added, *parts);
  return parts;
}

}  // namespace

Result<std::shared_ptr<const TokenizerParts>> load_tokenizer_parts(
    const std::filesystem::path& model_folder) {
  ASSIGN_OR_RETURN(const JsonFile file, JsonFile::load(model_folder / "tokenizer.json"));
  ASSIGN_OR_RETURN(const TokenizerConfig config, load_tokenizer_config(model_folder));
  return assemble(file.root(), config);
}

}  // namespace concertina::tokenizer
