// Any bytes as tokenizer.json; one that loads must encode and decode whatever comes.
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tokenizer/streaming_detokenizer.h"
#include "tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace concertina::tokenizer;
  static const std::filesystem::path folder = [] {
    const auto made =
        std::filesystem::temp_directory_path() / ("concertina-fuzz-" + std::to_string(getpid()));
    std::filesystem::create_directories(made);
    return made;
  }();
  std::ofstream(folder / "tokenizer.json", std::ios::binary)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  const auto tokenizer = Tokenizer::load(folder);
  if (!tokenizer) return 0;
  const auto ids = tokenizer->encode("Hello, w\xc3\xb6rld! \xff 123  <s>", AddSpecialTokens::kYes);
  (void)tokenizer->decode(ids, SkipSpecialTokens::kYes);
  StreamingDetokenizer detokenizer(*tokenizer, SkipSpecialTokens::kNo);
  for (const auto id : ids) (void)detokenizer.push(id);
  (void)detokenizer.flush();
  return 0;
}
