#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/post_processor_file.h"
#include "tokenizer/special_tokens.h"

namespace concertina::tokenizer {

// tokenizer_config.json, as far as ids and chat templates depend on it. A folder without the file has an
// empty one.
struct TokenizerConfig {
  std::string path;
  std::string tokenizer_class;
  SpecialTokens special_tokens;
  std::vector<AddedToken> added_tokens;  // of added_tokens_decoder
  std::optional<bool> add_bos, add_eos;
  // name -> source; a single unnamed template is "default"
  std::vector<std::pair<std::string, std::string>> chat_templates;
};

Result<TokenizerConfig> load_tokenizer_config(const std::filesystem::path& model_folder);

// transformers' LlamaTokenizerFast (also DeepSeek's class) lets add_bos_token and add_eos_token decide,
// whatever tokenizer.json says; other classes do not look at them.
Status apply_config_template(const TokenizerConfig& config, const Vocabulary& vocabulary,
                             PromptTemplate& out);

}  // namespace concertina::tokenizer
