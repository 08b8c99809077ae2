#include "client/sse.h"

namespace concertina::client {

bool SseParser::feed(std::string_view bytes, const std::function<bool(std::string_view)>& on_data) {
  for (const char byte : bytes) {
    const bool second_half_of_line_end = byte == '\n' && after_carriage_return_;
    after_carriage_return_ = byte == '\r';
    if (second_half_of_line_end) continue;
    if (byte != '\n' && byte != '\r') {
      line_ += byte;
    } else if (!end_line(on_data)) {
      return false;
    }
  }
  return true;
}

bool SseParser::end_line(const std::function<bool(std::string_view)>& on_data) {
  std::string_view line = line_;
  bool go_on = true;
  if (line.empty()) {
    if (has_data_) go_on = on_data(data_);
    data_.clear();
    has_data_ = false;
  } else if (line.starts_with("data:")) {
    line.remove_prefix(5);
    if (line.starts_with(' ')) line.remove_prefix(1);
    if (has_data_) data_ += '\n';
    data_ += line;
    has_data_ = true;
  }
  line_.clear();
  return go_on;
}

}  // namespace concertina::client
