#pragma once

#include <string>
#include <tl/expected.hpp>
#include <type_traits>
#include <utility>

namespace concertina {

namespace internal {
template <typename E>
inline constexpr char kErrorDomain = 0;  // its address names the enum E
}  // namespace internal

// An expected failure: a code from the enum of the folder that failed, and a message for a person. The
// message says which field, file, tensor or rank it is about, what was found and what was expected.
// Immutable; copy freely.
class Error {
 public:
  template <typename E>
  requires std::is_enum_v<E> Error(E code, std::string message)
      : domain_(&internal::kErrorDomain<E>), code_(static_cast<int>(code)), message_(std::move(message)) {}

  template <typename E>
  requires std::is_enum_v<E>
  bool is(E code) const { return domain_ == &internal::kErrorDomain<E> && code_ == static_cast<int>(code); }

  const std::string& message() const { return message_; }

  // The same failure with words put before its message ("loading rank 3: ...").
  Error with_context(const std::string& context) const {
    Error error = *this;
    error.message_ = context + ": " + message_;
    return error;
  }

 private:
  const void* domain_;
  int code_;
  std::string message_;
};

template <typename T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

template <typename E>
tl::unexpected<Error> fail(E code, std::string message) {
  return tl::unexpected<Error>(Error(code, std::move(message)));
}
inline tl::unexpected<Error> fail(Error error) { return tl::unexpected<Error>(std::move(error)); }

}  // namespace concertina

// Returns the error of `expression` (a Status or Result) from the enclosing function, if it failed.
#define CONCERTINA_CONCAT_INNER(a, b) a##b
#define CONCERTINA_CONCAT(a, b) CONCERTINA_CONCAT_INNER(a, b)
#define RETURN_IF_ERROR(expression)                                           \
  do {                                                                        \
    if (auto status_ = (expression); !status_.has_value())                    \
      return tl::unexpected<::concertina::Error>(std::move(status_).error()); \
  } while (false)
#define ASSIGN_OR_RETURN(declaration, expression)                                                        \
  auto CONCERTINA_CONCAT(result_, __LINE__) = (expression);                                              \
  if (!CONCERTINA_CONCAT(result_, __LINE__).has_value())                                                 \
    return tl::unexpected<::concertina::Error>(std::move(CONCERTINA_CONCAT(result_, __LINE__)).error()); \
  declaration = std::move(CONCERTINA_CONCAT(result_, __LINE__)).value()
