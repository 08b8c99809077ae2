#pragma once

namespace concertina::tokenizer {

enum class TokenizerError {
  kMissing,          // the folder has no such file, or no chat template at all
  kInvalid,          // a file is not what its format says: the message names file, field, found and expected
  kUnsupported,      // a valid file that asks for something this tokenizer does not do
  kTemplateInvalid,  // the chat template does not parse, or fails on these messages: a fault of the
                     // checkpoint
  kTemplateTooLong,  // the chat template did not end within its steps: too many messages
  kTemplateRaised,   // the chat template called raise_exception: it refuses these messages (the caller's
                     // fault)
};

}  // namespace concertina::tokenizer
