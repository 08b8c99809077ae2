#pragma once

namespace concertina::chat {

enum class ChatError {
  // The folder has no chat template.
  kMissing,
  // The template does not parse, or fails on any messages: a fault of the checkpoint.
  kTemplateInvalid,
  // It fails on these messages, but not on plain ones. The caller's fault, as the next two are.
  kTemplateFailed,
  // It did not end within its steps, or made too long a text.
  kTemplateTooLong,
  // It called raise_exception: it refuses these messages.
  kTemplateRaised,
};

}  // namespace concertina::chat
