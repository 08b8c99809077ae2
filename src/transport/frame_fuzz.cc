// Any bytes on a control channel, in two pieces.
#include "transport/control.pb.h"
#include "transport/frame_decoder.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace concertina::transport;
  const std::span<const char> bytes(reinterpret_cast<const char*>(data), size);
  const std::size_t cut = size == 0 ? 0 : data[0] % size;
  FrameDecoder decoder(1 << 16);
  const auto on_frame = [](const Frame& frame) { return frame.ByteSizeLong() < (1 << 17); };
  if (decoder.feed(bytes.first(cut), on_frame)) (void)decoder.feed(bytes.subspan(cut), on_frame);
  return 0;
}
