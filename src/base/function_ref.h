#pragma once

#include <memory>
#include <type_traits>
#include <utility>

namespace concertina {

template <typename Signature>
class FunctionRef;

// Something that can be called, lent for the length of a call: no copy of it is made and no memory taken.
template <typename Returned, typename... Arguments>
class FunctionRef<Returned(Arguments...)> {
 public:
  template <typename Function>
  requires(!std::is_same_v<Function, FunctionRef>) FunctionRef(const Function& function)  // NOLINT: implicit
      : object_(std::addressof(function)), call_([](const void* object, Arguments... arguments) -> Returned {
          return (*static_cast<const Function*>(object))(std::forward<Arguments>(arguments)...);
        }) {}

  Returned operator()(Arguments... arguments) const {
    return call_(object_, std::forward<Arguments>(arguments)...);
  }

 private:
  const void* object_;
  Returned (*call_)(const void*, Arguments...);
};

}  // namespace concertina
