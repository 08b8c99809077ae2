#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace concertina::grammar {

inline constexpr std::size_t kMaxPackedVocabulary = 32 << 20;  // bytes

// The texts of a vocabulary's tokens as one string, which goes to every rank: each a length of two bytes,
// little-endian, and its bytes. A text of more than 65535 bytes becomes none: no grammar yields it.
std::string pack_vocabulary(const std::vector<std::string>& texts);
Result<std::vector<std::string>> unpack_vocabulary(std::string_view packed);  // kInvalid: it ends in a text

}  // namespace concertina::grammar
