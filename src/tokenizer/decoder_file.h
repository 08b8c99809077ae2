#pragma once

#include "tokenizer/json_field.h"
#include "tokenizer/token_decoder.h"

namespace concertina::tokenizer {

// "decoder" of tokenizer.json: ByteLevel, or (edits of tokens) ByteFallback, Fuse, (Strip of the text).
Result<DecoderPlan> read_decoder(const JsonField& root);

}  // namespace concertina::tokenizer
