#include "checkpoint/weight_arena.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include "checkpoint/dummy_weights.h"
#include "checkpoint/error.h"
#include "checkpoint/safetensors.h"

namespace concertina::checkpoint {
namespace {

namespace fs = std::filesystem;
using tensor::DType;
using ::testing::AllOf;
using ::testing::HasSubstr;

// Values with NaN where a test wants it; counts up otherwise.
class Counting : public WeightSource {
 public:
  explicit Counting(DType dtype = DType::kF32) : dtype_(dtype) {}
  Result<tensor::Weight> load(const std::string&, const tensor::Shape& shape) const override {
    auto values = std::make_shared<std::vector<float>>(tensor::count_of(shape));
    for (std::size_t i = 0; i < values->size(); ++i) (*values)[i] = static_cast<float>(i);
    if (bad_at < values->size()) (*values)[bad_at] = bad;
    const void* data = values->data();
    return tensor::Weight{dtype_, shape, data, values};
  }
  Result<DType> verify(const std::string&, const tensor::Shape&) const override { return dtype_; }
  bool contains(const std::string&) const override { return true; }
  std::size_t bad_at = ~std::size_t{0};
  float bad = NAN;

 private:
  DType dtype_;
};

std::string path_of(const WeightArena& arena) { return "/proc/self/fd/" + std::to_string(arena.fd()); }

std::unique_ptr<WeightArena> filled(std::vector<ArenaTensor> tensors, const WeightSource& source) {
  auto arena = WeightArena::create(std::move(tensors)).value();
  const Status done = arena->fill(source, {.n_threads = 3});
  EXPECT_TRUE(done) << done.error().message();
  return arena;
}

TEST(WeightArena, HoldsWhatTheSourceGivesAtAlignedPlacesWhateverTheThreads) {
  // A matrix of many pieces, one of a row that is longer than a buffer, a vector, one element.
  const std::vector<ArenaTensor> tensors{{"wide", {3, 300'001}, DType::kBF16, DType::kBF16},
                                         {"tall", {70'001, 33}, DType::kBF16, DType::kBF16},
                                         {"norm", {77}, DType::kBF16, DType::kBF16},
                                         {"one", {1}, DType::kBF16, DType::kBF16}};
  const DummyWeights source(7);
  const auto arena = filled(tensors, source);
  const auto weights = ArenaWeights::open(path_of(*arena));
  ASSERT_TRUE(weights) << weights.error().message();
  for (const ArenaTensor& tensor : tensors) {
    const auto mine = (*weights)->load(tensor.name, tensor.shape),
               want = source.load(tensor.name, tensor.shape);
    ASSERT_TRUE(mine) << mine.error().message();
    EXPECT_EQ(std::memcmp(mine->data, want->data, want->bytes()), 0) << tensor.name;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(mine->data) % 64, 0u) << tensor.name;
  }
  EXPECT_FALSE((*weights)->load("norm", {78}));
  EXPECT_FALSE((*weights)->contains("other"));
}

TEST(WeightArena, NobodyCanChangeItAfterwardsNotEvenItsMaker) {
  const auto arena = filled({{"a", {4, 4}, DType::kF32, DType::kF32}}, Counting());
  EXPECT_EQ(pwrite(arena->fd(), "x", 1, 5000), -1);
  EXPECT_EQ(ftruncate(arena->fd(), 10), -1);
  const auto weights = ArenaWeights::open(path_of(*arena)).value();
  const tensor::Weight kept = weights->load("a", {4, 4}).value();
  EXPECT_EQ(static_cast<const float*>(kept.data)[15], 15.0f);
}

TEST(WeightArena, OneThatIsNotSealedYetOrIsAnythingElseIsRefused) {
  const auto arena = WeightArena::create({{"a", {4}, DType::kF32, DType::kF32}}).value();
  const auto early = ArenaWeights::open(path_of(*arena));
  ASSERT_FALSE(early);
  EXPECT_THAT(early.error().message(), HasSubstr("not sealed"));
  EXPECT_FALSE(ArenaWeights::open("/proc/self/exe"));
  EXPECT_FALSE(ArenaWeights::open("/proc/self/fd/9999"));
}

TEST(WeightArena, EveryCutAndFlippedTableIsAnErrorOrStaysWithinItsBytes) {
  const std::vector<ArenaTensor> tensors{{"a", {8, 16}, DType::kF32, DType::kI8},
                                         {"b", {9}, DType::kBF16, DType::kBF16}};
  const ArenaLayout layout = lay_out(tensors);
  const auto parse = [&](const std::string& head) {
    return parse_arena(std::as_bytes(std::span(head)), layout.n_bytes);
  };
  const auto whole = parse(layout.head);
  ASSERT_TRUE(whole) << whole.error().message();
  EXPECT_EQ((*whole)[0].sums, layout.entries[0].sums);
  for (std::size_t i = 0; i < layout.head.size(); ++i) {
    EXPECT_FALSE(parse(layout.head.substr(0, i))) << i;
    for (const char flip : {'\x01', '\x40', '\xff'}) {
      std::string broken = layout.head;
      broken[i] = static_cast<char>(broken[i] ^ flip);
      const auto entries = parse(broken);
      if (!entries) continue;
      for (const ArenaEntry& entry : *entries) {
        const auto n =
            static_cast<std::uint64_t>(tensor::count_of(entry.shape)) * tensor::element_bytes(entry.dtype);
        EXPECT_LE(entry.data + n, layout.n_bytes) << i;
      }
    }
  }
}

TEST(WeightArena, AValueThatIsNotFiniteIsNamedWithItsPlace) {
  Counting source;
  source.bad_at = 5 * 1000 + 17;
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    source.bad = bad;
    const auto arena = WeightArena::create({{"model.norm", {100, 1000}, DType::kF32, DType::kF32}}).value();
    const Status done = arena->fill(source, {.n_threads = 2});
    ASSERT_FALSE(done);
    EXPECT_TRUE(done.error().is(CheckpointError::kNotFinite));
    EXPECT_THAT(done.error().message(),
                AllOf(HasSubstr("tensor model.norm"), HasSubstr("[5, 17]"), HasSubstr("[100, 1000]")));
  }
}

TEST(WeightArena, RowsAreQuantizedAsTheyAreCopied) {
  // As a stand-in for the kernel: a row's first value as its scale, its last one in every place.
  const QuantizeRows quantize = [](const tensor::Weight& rows) {
    struct Memory {
      std::vector<std::int8_t> data;
      std::vector<float> scales;
      std::vector<std::int32_t> sums;
    };
    auto memory = std::make_shared<Memory>();
    const auto n = static_cast<std::size_t>(rows.shape[0]), width = static_cast<std::size_t>(rows.shape[1]);
    for (std::size_t i = 0; i < n; ++i) {
      const float* row = static_cast<const float*>(rows.data) + i * width;
      memory->scales.push_back(row[0]);
      memory->sums.push_back(static_cast<std::int32_t>(row[0] / static_cast<float>(width)));
      memory->data.insert(memory->data.end(), width, static_cast<std::int8_t>(memory->sums.back() % 100));
    }
    return tensor::Weight{.dtype = DType::kI8,
                          .shape = rows.shape,
                          .data = memory->data.data(),
                          .owner = memory,
                          .scales = memory->scales.data(),
                          .sums = memory->sums.data()};
  };
  const auto arena = WeightArena::create({{"m", {50'000, 40}, DType::kF32, DType::kI8}}).value();
  ASSERT_TRUE(arena->fill(Counting(), {.n_threads = 2, .quantize = quantize}));
  const auto weights = ArenaWeights::open(path_of(*arena)).value();
  const auto small = weights->quantized("m");
  ASSERT_TRUE(small);
  EXPECT_FALSE(weights->contains("m")) << "as it was it is not kept";
  for (std::int32_t row = 0; row < 50'000; ++row) {
    ASSERT_EQ(small->sums[row], row);
    ASSERT_EQ(small->scales[row], static_cast<float>(row) * 40);
    ASSERT_EQ(static_cast<const std::int8_t*>(small->data)[row * 40 + 39], row % 100);
  }
}

TEST(WeightArena, FillingEndsWhenItIsToldTo) {
  const auto arena = WeightArena::create({{"m", {5000, 400}, DType::kF32, DType::kF32}}).value();
  const std::atomic<bool> stop = true;
  const Status done = arena->fill(Counting(), {.n_threads = 2, .stop = &stop});
  ASSERT_FALSE(done);
  EXPECT_TRUE(done.error().is(CheckpointError::kCancelled));
}

TEST(WeightArena, ACheckpointOfEachDtypeIsReadAsItIsLoaded) {
  const fs::path folder = fs::path(::testing::TempDir()) / "arena_dtypes";
  fs::remove_all(folder);
  fs::create_directories(folder);
  std::string header =
      R"({"f":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
      R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[24,30]},)"
      R"("h":{"dtype":"F16","shape":[3,2],"data_offsets":[30,42]}})";  // of odd places on purpose
  std::string data(42, '\0');
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i % 2 == 0 ? i : 0x30 + i % 8);
  const std::uint64_t length = header.size();
  std::ofstream(folder / "model.safetensors", std::ios::binary)
      .write(reinterpret_cast<const char*>(&length), 8)
      .write(header.data(), static_cast<std::streamsize>(header.size()))
      .write(data.data(), static_cast<std::streamsize>(data.size()));
  const auto source = SafetensorsFolder::open(folder);
  ASSERT_TRUE(source) << source.error().message();
  std::vector<ArenaTensor> tensors;
  for (const auto& [name, shape] : {std::pair{"f", tensor::Shape{2, 3}}, {"b", {3}}, {"h", {3, 2}}}) {
    const DType dtype = (*source)->verify(name, shape).value();
    tensors.push_back({name, shape, dtype, dtype});
  }
  const auto arena = filled(tensors, **source);
  fs::remove_all(folder);
  const auto weights = ArenaWeights::open(path_of(*arena)).value();
  for (const ArenaTensor& tensor : tensors) {
    const auto want = (*source)->load(tensor.name, tensor.shape),
               mine = weights->load(tensor.name, tensor.shape);
    EXPECT_EQ(std::memcmp(mine->data, want->data, want->bytes()), 0) << tensor.name;
  }
}

TEST(WeightArena, AFileThatIsShortenedWhileItIsReadIsAnErrorNotASignal) {
  const fs::path folder = fs::path(::testing::TempDir()) / "arena_truncated";
  fs::remove_all(folder);
  fs::copy(fs::path(CONCERTINA_SOURCE_DIR) / "tests/fixtures/qwen3_moe_bf16_sharded", folder);
  const auto source = SafetensorsFolder::open(folder).value();
  const std::string name = "model.layers.1.mlp.experts.15.down_proj.weight";
  const auto arena = WeightArena::create({{name, {64, 32}, DType::kBF16, DType::kBF16}}).value();
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().extension() == ".safetensors") fs::resize_file(entry.path(), 100);
  const Status done = arena->fill(*source, {.n_threads = 1});
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message(), AllOf(HasSubstr(".safetensors"), HasSubstr("shortened")));
  fs::remove_all(folder);
}

}  // namespace
}  // namespace concertina::checkpoint
