#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace concertina::client {

// Cuts server-sent events out of bytes that come in pieces of any size. Keeps what `data:` lines say;
// comments, names, ids and retry times are skipped.
class SseParser {
 public:
  // Calls on_data for each event that `bytes` completes, until it returns false. False then: the rest of
  // `bytes` is dropped.
  bool feed(std::string_view bytes, const std::function<bool(std::string_view data)>& on_data);

  // Bytes of an event that has not ended are held: the stream was cut short.
  bool in_event() const { return !line_.empty() || has_data_; }

 private:
  bool end_line(const std::function<bool(std::string_view data)>& on_data);

  std::string line_;  // without its end
  std::string data_;
  bool has_data_ = false;
  bool after_carriage_return_ = false;
};

}  // namespace concertina::client
