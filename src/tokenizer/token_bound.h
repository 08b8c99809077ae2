#pragma once

#include <cstddef>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/vocabulary.h"

namespace concertina::tokenizer {

// The most bytes of text, as it came, that one token can stand for; the largest std::size_t where there is no
// such number. Never too low, so a text refused by it could not have fitted. It counts what normalizing makes
// shorter. There is no bound where text of any length becomes one token or none: a normalizer that strips, or
// replaces by nothing or what an expression matches; a Split that removes; an added token that takes the
// white space beside it (lstrip, rstrip); and bytes that are no token, unless each makes an unknown token of
// its own.
std::size_t most_bytes_per_token(const Vocabulary& vocabulary, const BpeModel& model,
                                 const std::vector<AddedToken>& added, const Normalizer& normalizer,
                                 const PreTokenizer& pre_tokenizer);

// The most bytes of valid UTF-8 of which `code_point` may come in that form. 0: no text has it.
std::size_t most_bytes_before(NormalForm form, char32_t code_point);

}  // namespace concertina::tokenizer
