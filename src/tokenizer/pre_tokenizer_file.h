#pragma once

#include "tokenizer/json_field.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/symbol_table.h"

namespace concertina::tokenizer {

struct PreTokenizerFile {
  PreTokenizer pre_tokenizer;
  SymbolUnit unit;  // bytes where the last step is ByteLevel
};

// "pre_tokenizer" of tokenizer.json. `root` is the whole file; absent and null: the text is one piece.
Result<PreTokenizerFile> read_pre_tokenizer(const JsonField& root);

}  // namespace concertina::tokenizer
