#pragma once

#include <optional>
#include <string>

namespace concertina::tokenizer {

// The texts of the tokens that play a role, as tokenizer_config.json names them. Chat templates see bos and
// eos.
struct SpecialTokens {
  std::optional<std::string> bos, eos, unk, pad;
};

}  // namespace concertina::tokenizer
