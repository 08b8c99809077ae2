#include "transport/frame_decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "transport/control.pb.h"
#include "transport/control_channel.h"

namespace concertina::transport {
namespace {

constexpr std::size_t kLengthBytes = 4;

std::size_t read_length(const char* bytes) {
  std::size_t length = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i)
    length |= std::size_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  return length;
}

std::string first_bytes(const char* bytes, std::size_t n_bytes) {
  std::string text;
  for (std::size_t i = 0; i < std::min<std::size_t>(n_bytes, 8); ++i)
    text += fmt::format("{}{:02x}", i == 0 ? "" : " ", static_cast<unsigned char>(bytes[i]));
  return text;
}

}  // namespace

void append_frame(std::string& stream, const Frame& frame) {
  const std::size_t length = frame.ByteSizeLong();
  CHECK(length <= kMaxFrameBytes, "a control frame of {} bytes; at most {} are allowed", length,
        kMaxFrameBytes);
  for (std::size_t i = 0; i < kLengthBytes; ++i)
    stream.push_back(static_cast<char>(length >> (8 * i) & 0xff));
  frame.AppendToString(&stream);
}

Status FrameDecoder::feed(std::span<const char> bytes, const std::function<bool(const Frame&)>& on_frame) {
  buffer_.append(bytes.data(), bytes.size());
  bool goes_on = true;
  while (goes_on && pending_bytes() >= kLengthBytes) {
    const char* frame_bytes = buffer_.data() + begin_ + kLengthBytes;
    const std::size_t length = read_length(buffer_.data() + begin_);
    if (length > max_frame_bytes_)
      return fail(TransportError::kBadFrame,
                  fmt::format("a control frame announces {} bytes; at most {} are allowed", length,
                              max_frame_bytes_));
    if (pending_bytes() < kLengthBytes + length) break;
    Frame frame;
    if (!frame.ParseFromArray(frame_bytes, static_cast<int>(length)))
      return fail(TransportError::kBadFrame,
                  fmt::format("a control frame of {} bytes is not a message; it begins {}", length,
                              first_bytes(frame_bytes, length)));
    begin_ += kLengthBytes + length;
    goes_on = on_frame(frame);
  }
  buffer_.erase(0, begin_);
  begin_ = 0;
  return {};
}

}  // namespace concertina::transport
