#pragma once

namespace concertina::jinja {

enum class JinjaError {
  // The template does not parse, or does with its values what cannot be done.
  kInvalid,
  // It did not end within its steps, or made too long a text.
  kTooLong,
  // It called raise_exception; the message is its own.
  kRaised,
};

}  // namespace concertina::jinja
