#pragma once

#include "tokenizer/json_field.h"
#include "tokenizer/normalizer.h"

namespace concertina::tokenizer {

// "normalizer" of tokenizer.json. `root` is the whole file; absent and null: nothing is normalized.
Result<Normalizer> read_normalizer(const JsonField& root);

}  // namespace concertina::tokenizer
