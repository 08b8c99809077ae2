#pragma once

namespace concertina::grammar {

enum class GrammarError {
  // The source is not what its language says, or matches no text: the message names the offset or the
  // pointer.
  kInvalid,
  // A valid source that asks for something that is not done here: the message names the keyword.
  kUnsupported,
  // The grammar is larger than a limit (limits.h), which the message names.
  kTooLarge,
};

}  // namespace concertina::grammar
