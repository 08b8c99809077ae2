#pragma once

#include <ctime>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"

namespace concertina::tokenizer {

// A chat template in the subset of Jinja that published ones use, rendered as transformers does (trim_blocks,
// lstrip_blocks, tojson like json.dumps, raise_exception, strftime_now). No includes, imports, inheritance or
// call blocks. Immutable; any thread.
class ChatTemplate {
 public:
  // chat_template.jinja, else tokenizer_config.json's chat_template: a text, or a list of named ones
  // ("default"). kNotFound if the folder has none.
  static Result<ChatTemplate> load(const std::filesystem::path& folder);
  static Result<ChatTemplate> parse(const std::string& name,
                                    const std::string& source);  // name: in errors, with the line

  // `variables`: messages, add_generation_prompt, bos_token, eos_token and what else the template asks for. A
  // refusal by the template itself (raise_exception) is kRender with its words.
  Result<std::string> render(const nlohmann::ordered_json& variables, std::time_t now) const;

 private:
  struct Parsed;
  std::string name_;
  std::shared_ptr<const Parsed> parsed_;
};

}  // namespace concertina::tokenizer
