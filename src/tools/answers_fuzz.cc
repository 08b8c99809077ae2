// Any answer in any format, the first byte says which, cut in two at the second's place: nothing is lost, and
// the cut makes no difference.
#include <nlohmann/json.hpp>

#include "tools/parsed_answer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace concertina;
  using namespace concertina::tools;
  if (size < 2) return 0;
  static const auto types = std::make_shared<const ToolTypes>(nlohmann::ordered_json::parse(
      R"([{"function": {"name": "f", "parameters": {"properties": {"s": {"type": "string"}}}}}])"));
  const std::string_view answer(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::size_t which = data[0] & 15, cut = answer.size() * data[1] / 255;
  Formats formats{.reasoning = (data[0] & 16) != 0 ? find_reasoning_format("kimi_k2") : nullptr};
  if (which < call_formats().size()) formats.calls = &call_formats()[which];
  if (which == call_formats().size()) formats.harmony = Formats::Harmony::kYes;
  const Opened opened = (data[0] & 32) != 0 ? Opened::kYes : Opened::kNo;
  const auto parse = [&](const std::vector<std::string_view>& pieces) {
    const auto parser = make_parser(formats, ParseCalls::kYes, SplitReasoning::kYes, opened, types);
    const Events events = parsed(*parser, pieces);
    check_source(events, answer);
    return shown(events);
  };
  CHECK(parse({answer}) == parse({answer.substr(0, cut), answer.substr(cut)}));
  return 0;
}
