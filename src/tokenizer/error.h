#pragma once

namespace concertina::tokenizer {

enum class TokenizerError {
  kMissing,          // the folder has no such file, or no chat template at all
  kInvalid,          // a file is not what its format says: the message names file, field, found and expected
  kUnsupported,      // a valid file that asks for something this tokenizer does not do
  kTemplateInvalid,  // the chat template does not parse, or fails on any messages: a fault of the checkpoint
  kTemplateFailed,   // the chat template fails on these messages, but not on plain ones (the caller's fault)
  kTemplateTooLong,  // the chat template did not end within its steps, or made too long a text (the caller's
                     // fault)
  kTemplateRaised,   // the chat template called raise_exception: it refuses these messages (the caller's
                     // fault)
};

}  // namespace concertina::tokenizer
