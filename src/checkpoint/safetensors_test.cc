#include "checkpoint/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>

#include "checkpoint/error.h"

namespace concertina::checkpoint {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string little_endian(std::uint64_t value) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(value >> (8 * i));
  return bytes;
}

std::string safetensors(const std::string& header, const std::string& data) {
  return little_endian(header.size()) + header + data;
}

// A model folder of its own for each test, gone with it.
class BrokenCheckpoint : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "concertina_checkpoint_XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  void write(const std::string& name, const std::string& bytes) {
    std::ofstream(folder_ / name, std::ios::binary)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }

  // Opening the folder fails with `code`, and the message has every one of `parts`.
  void expect_refused(CheckpointError code, const std::vector<std::string>& parts) {
    const auto source = SafetensorsFolder::open(folder_);
    ASSERT_FALSE(source.has_value());
    EXPECT_TRUE(source.error().is(code)) << source.error().message();
    for (const auto& part : parts) EXPECT_THAT(source.error().message(), HasSubstr(part));
  }
  void expect_refused_file(const std::string& bytes, CheckpointError code, std::vector<std::string> parts) {
    write("model.safetensors", bytes);
    parts.push_back("model.safetensors");
    expect_refused(code, parts);
  }
  std::unique_ptr<SafetensorsFolder> open() {
    auto source = SafetensorsFolder::open(folder_);
    EXPECT_TRUE(source.has_value()) << source.error().message();
    return source.has_value() ? std::move(*source) : nullptr;
  }

  fs::path folder_;
};

const std::string kTwoTensors =
    R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
    R"("b":{"dtype":"BF16","shape":[1,2],"data_offsets":[8,12]}})";
const std::string kTwelveBytes(12, '\1');

TEST_F(BrokenCheckpoint, EmptyFolderSaysWhatWasLookedFor) {
  expect_refused(CheckpointError::kNotFound, {"neither model.safetensors nor", folder_.string()});
}

TEST_F(BrokenCheckpoint, EmptyOrTinyFileIsTruncated) {
  expect_refused_file("", CheckpointError::kCorrupt, {"has 0 bytes"});
  expect_refused_file("1234567", CheckpointError::kCorrupt, {"has 7 bytes"});
}

TEST_F(BrokenCheckpoint, AbsurdHeaderLength) {
  expect_refused_file(little_endian(~0ull) + kTwoTensors, CheckpointError::kCorrupt,
                      {"18446744073709551615"});
  expect_refused_file(little_endian((100u << 20) + 1) + kTwoTensors, CheckpointError::kCorrupt,
                      {"104857601"});
  expect_refused_file(little_endian(1000) + kTwoTensors, CheckpointError::kCorrupt,
                      {"header length is 1000"});
}

TEST_F(BrokenCheckpoint, APointerOfGitLfsIsNamedAsWhatItIs) {
  expect_refused_file("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
                      CheckpointError::kCorrupt, {"Git LFS", "git lfs pull"});
}

TEST_F(BrokenCheckpoint, EveryTruncationIsRefused) {
  const std::string whole = safetensors(kTwoTensors, kTwelveBytes);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    write("model.safetensors", whole.substr(0, size));
    EXPECT_FALSE(SafetensorsFolder::open(folder_).has_value()) << size << " bytes";
  }
  expect_refused_file(whole.substr(0, whole.size() - 1), CheckpointError::kCorrupt, {"tensor b", "12", "11"});
  write("model.safetensors", whole);
  EXPECT_NE(open(), nullptr);
}

TEST_F(BrokenCheckpoint, EveryFlippedHeaderByteIsAnErrorOrAWorkingFile) {
  const std::string whole = safetensors(kTwoTensors, kTwelveBytes);
  for (std::size_t i = 0; i < 8 + kTwoTensors.size(); ++i) {
    for (const char flip : {'\x01', '\x10', '\x7f'}) {
      std::string broken = whole;
      broken[i] = static_cast<char>(broken[i] ^ flip);
      write("model.safetensors", broken);
      const auto source = SafetensorsFolder::open(folder_);
      if (!source.has_value()) continue;
      for (const auto& weight : {(*source)->load("a", {2}), (*source)->load("b", {1, 2})}) {
        if (!weight.has_value()) continue;
        EXPECT_EQ(std::memcmp(weight->data, kTwelveBytes.data(), weight->bytes()), 0);
      }
    }
  }
}

TEST_F(BrokenCheckpoint, HeaderThatIsNotAJsonObject) {
  expect_refused_file(safetensors("{\"a\": ", ""), CheckpointError::kCorrupt, {"not JSON"});
  expect_refused_file(safetensors("[1, 2]", ""), CheckpointError::kCorrupt, {"must be a JSON object"});
  expect_refused_file(safetensors(std::string(100'000, '['), ""), CheckpointError::kCorrupt, {"not JSON"});
  expect_refused_file(safetensors(R"({"a":7})", ""), CheckpointError::kCorrupt,
                      {"tensor a", "not an object"});
}

TEST_F(BrokenCheckpoint, TensorTwice) {
  expect_refused_file(safetensors(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                                  R"("a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                                  "12345678"),
                      CheckpointError::kCorrupt, {"a appears twice"});
}

TEST_F(BrokenCheckpoint, MalformedEntry) {
  const auto with = [](const std::string& entry) { return safetensors(R"({"wild":)" + entry + "}", "1234"); };
  const auto header = CheckpointError::kCorrupt;
  expect_refused_file(with(R"({"shape":[1],"data_offsets":[0,4]})"), header, {"tensor wild", "dtype"});
  expect_refused_file(with(R"({"dtype":"F32","data_offsets":[0,4]})"), header, {"tensor wild", "shape"});
  expect_refused_file(with(R"({"dtype":"F32","shape":[1]})"), header, {"tensor wild", "data_offsets"});
  expect_refused_file(with(R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})"), header,
                      {"tensor wild", "[-1]"});
  expect_refused_file(with(R"({"dtype":"F32","shape":[1.5],"data_offsets":[0,4]})"), header,
                      {"tensor wild", "not an integer"});
  expect_refused_file(with(R"({"dtype":"F32","shape":[1],"data_offsets":[-4,4]})"), header,
                      {"tensor wild", "data_offsets"});
  expect_refused_file(with(R"({"dtype":"F32","shape":[1],"data_offsets":[0,99999999999999999999]})"), header,
                      {"tensor wild", "data_offsets"});
  expect_refused_file(with(R"({"dtype":"Q4","shape":[1],"data_offsets":[0,4]})"), CheckpointError::kCorrupt,
                      {"tensor wild", "Q4"});
}

TEST_F(BrokenCheckpoint, ShapeThatOverflows) {
  expect_refused_file(
      safetensors(R"({"huge":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", ""),
      CheckpointError::kCorrupt, {"tensor huge", "[4294967296, 4294967296]"});
  expect_refused_file(
      safetensors(R"({"huge":{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,0]}})", ""),
      CheckpointError::kCorrupt, {"tensor huge", "too many"});
}

TEST_F(BrokenCheckpoint, OffsetsThatOverlapLeaveGapsOrDisagree) {
  const auto two = [](const std::string& a, const std::string& b) {
    return safetensors(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":)" + a +
                           R"(},"b":{"dtype":"F32","shape":[1],"data_offsets":)" + b + "}}",
                       kTwelveBytes);
  };
  const auto offsets = CheckpointError::kCorrupt;
  expect_refused_file(two("[0,4]", "[2,6]"), offsets, {"tensor b", "overlaps what a ends at 4", "byte 2"});
  expect_refused_file(two("[0,4]", "[0,4]"), offsets, {"tensor b", "overlaps what a"});
  expect_refused_file(two("[0,4]", "[8,12]"), offsets, {"tensor b", "byte 8", "what a ends at 4"});
  expect_refused_file(two("[4,8]", "[8,12]"), offsets, {"tensor a", "byte 4", "ends at 0"});
  expect_refused_file(two("[0,4]", "[4,8]"), offsets, {"12 bytes of data", "end at 8"});
  expect_refused_file(two("[0,4]", "[4,12]"), offsets, {"tensor b", "needs 4 bytes", "hold 8"});
  expect_refused_file(two("[4,0]", "[4,8]"), offsets, {"tensor a", "[4, 0]"});
  expect_refused_file(two("[0,4]", "[12,16]"), CheckpointError::kCorrupt, {"tensor b", "16", "12"});
}

TEST_F(BrokenCheckpoint, TheWrongTensorIsNamedWithFoundAndExpected) {
  write("model.safetensors", safetensors(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                                         R"("i":{"dtype":"I32","shape":[1],"data_offsets":[8,12]}})",
                                         kTwelveBytes));
  const auto source = open();
  const auto shape = source->load("a", {3});
  ASSERT_FALSE(shape.has_value());
  EXPECT_TRUE(shape.error().is(CheckpointError::kWrongShape));
  EXPECT_THAT(shape.error().message(), AllOf(HasSubstr("model.safetensors"), HasSubstr("tensor a"),
                                             HasSubstr("[2]"), HasSubstr("asks for [3]")));
  const auto dtype = source->verify("i", {1});
  ASSERT_FALSE(dtype.has_value());
  EXPECT_TRUE(dtype.error().is(CheckpointError::kUnsupported));
  EXPECT_THAT(dtype.error().message(),
              AllOf(HasSubstr("model.safetensors"), HasSubstr("tensor i"), HasSubstr("I32")));
  const auto missing = source->verify("c", {1});
  ASSERT_FALSE(missing.has_value());
  EXPECT_TRUE(missing.error().is(CheckpointError::kNotFound));
  EXPECT_THAT(missing.error().message(), AllOf(HasSubstr(folder_.string()), HasSubstr("tensor c")));
}

TEST_F(BrokenCheckpoint, IndexAndShardsThatDisagree) {
  const std::string index = "model.safetensors.index.json";
  const auto bad = CheckpointError::kCorrupt;
  write("one.safetensors", safetensors(kTwoTensors, kTwelveBytes));
  write(index, "{");
  expect_refused(bad, {index, "not JSON"});
  write(index, R"({"metadata":{}})");
  expect_refused(bad, {index, "weight_map"});
  write(index, R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  expect_refused(CheckpointError::kNotFound, {"two.safetensors", "tensor b", "does not exist"});
  write(index, R"({"weight_map":{"a":"one.safetensors","c":"one.safetensors"}})");
  expect_refused(bad, {index, "tensor c", "one.safetensors"});
  write(index, R"({"weight_map":{"a":"../one.safetensors"}})");
  expect_refused(bad, {index, "tensor a", "../one.safetensors"});
  write(index, R"({"weight_map":{"a":7}})");
  expect_refused(bad, {index, "tensor a", "7"});
  write("two.safetensors", safetensors(R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},)"
                                       R"("c":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})",
                                       ""));
  write(index, R"({"weight_map":{"a":"one.safetensors","b":"one.safetensors","c":"two.safetensors"}})");
  expect_refused(bad, {"one.safetensors", "two.safetensors", "tensor a"});
  write("two.safetensors", "rubbish");
  expect_refused(CheckpointError::kCorrupt, {"two.safetensors"});
}

TEST_F(BrokenCheckpoint, WhatIsNotARegularFileIsRefusedWithoutWaiting) {
  fs::create_directory(folder_ / "model.safetensors");
  expect_refused(CheckpointError::kUnreadable, {"model.safetensors", "not a regular file"});
}

using Checkpoint = BrokenCheckpoint;

TEST_F(Checkpoint, F32AndBf16ComeAsTheyLieAndOutliveTheFolder) {
  std::string data(12, '\0');
  const float floats[] = {1.5f, -2.0f};
  const std::uint16_t bf16[] = {0x3f80, 0xc000};
  std::memcpy(data.data(), floats, 8);
  std::memcpy(data.data() + 8, bf16, 4);
  std::string header = kTwoTensors;
  header.append((8 - header.size() % 8) % 8, ' ');  // as writers do, so that the data is aligned
  write("model.safetensors", safetensors(header, data));
  auto source = open();
  const auto a = source->load("a", {2}), b = source->load("b", {1, 2});
  const auto again = source->load("a", {2});
  ASSERT_TRUE(a.has_value() && b.has_value() && again.has_value());
  EXPECT_EQ(a->data, again->data) << "no copy";
  source.reset();
  EXPECT_EQ(a->dtype, tensor::DType::kF32);
  EXPECT_EQ(static_cast<const float*>(a->data)[1], -2.0f);
  EXPECT_EQ(b->dtype, tensor::DType::kBF16);
  EXPECT_EQ(static_cast<const std::uint16_t*>(b->data)[1], 0xc000);
}

TEST_F(Checkpoint, MisalignedDataIsCopiedToWhereItIsAligned) {
  std::string header = kTwoTensors;
  header.append((8 - header.size() % 8) % 8 + 1, ' ');
  write("model.safetensors", safetensors(header, kTwelveBytes));
  for (const auto& weight : {open()->load("a", {2}), open()->load("b", {1, 2})}) {
    ASSERT_TRUE(weight.has_value());
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(weight->data) % 4, 0u);
    EXPECT_EQ(std::memcmp(weight->data, kTwelveBytes.data(), weight->bytes()), 0);
  }
}

TEST_F(Checkpoint, F16IsWidenedToF32) {
  const std::uint16_t halves[] = {0x3c00, 0xc100, 0x0001, 0x7bff};  // 1, -2.5, the smallest, the largest
  write("model.safetensors", safetensors(R"({"h":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]}})",
                                         std::string(reinterpret_cast<const char*>(halves), 8)));
  const auto weight = open()->load("h", {2, 2});
  ASSERT_TRUE(weight.has_value());
  EXPECT_EQ(weight->dtype, tensor::DType::kF32);
  EXPECT_THAT(std::vector<float>(static_cast<const float*>(weight->data),
                                 static_cast<const float*>(weight->data) + 4),
              ::testing::ElementsAre(1.0f, -2.5f, 0x1p-24f, 65504.0f));
}

TEST_F(Checkpoint, EveryF16ValueIsWidenedAsItsDefinitionSays) {
  std::string halves(2 * 65536, '\0');
  for (std::uint32_t half = 0; half < 65536; ++half) {
    halves[2 * half] = static_cast<char>(half), halves[2 * half + 1] = static_cast<char>(half >> 8);
  }
  write("model.safetensors",
        safetensors(R"({"h":{"dtype":"F16","shape":[65536],"data_offsets":[0,131072]}})", halves));
  const auto weight = open()->load("h", {65536});
  ASSERT_TRUE(weight.has_value());
  for (std::uint32_t half = 0; half < 65536; ++half) {
    const int exponent = (half >> 10) & 31, fraction = half & 1023;
    const float sign = (half & 0x8000) != 0 ? -1.0f : 1.0f;
    const float wide = static_cast<const float*>(weight->data)[half];
    if (exponent == 31) {
      EXPECT_TRUE(fraction != 0 ? std::isnan(wide) : wide == sign * INFINITY);
      continue;
    }
    const double magnitude =
        exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
    EXPECT_EQ(std::bit_cast<std::uint32_t>(wide),
              std::bit_cast<std::uint32_t>(sign * static_cast<float>(magnitude)));
  }
}

TEST(PublishedFixtures, ShardedFolderFindsEveryTensorInItsShard) {
  const fs::path folder = fs::path(CONCERTINA_SOURCE_DIR) / "tests/fixtures/qwen3_moe_bf16_sharded";
  const auto source = SafetensorsFolder::open(folder);
  ASSERT_TRUE(source.has_value()) << source.error().message();
  EXPECT_TRUE((*source)->contains("model.layers.1.mlp.experts.15.down_proj.weight"));
  EXPECT_TRUE((*source)->verify("model.layers.1.mlp.experts.15.down_proj.weight", {64, 32}).has_value());
  const auto wrong = (*source)->verify("model.layers.1.mlp.experts.15.down_proj.weight", {32, 64});
  ASSERT_FALSE(wrong.has_value());
  EXPECT_THAT(wrong.error().message(),
              AllOf(HasSubstr("-of-00008.safetensors"), HasSubstr("experts.15.down_proj")));
}

}  // namespace
}  // namespace concertina::checkpoint
