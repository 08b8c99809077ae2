#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "base/result.h"

namespace concertina::transport {

// An open file descriptor; closed at the end. -1: none.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() { reset(); }
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(other.release()) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;

  int get() const { return fd_; }
  int release();  // the caller closes it from now on
  void reset();

 private:
  int fd_ = -1;
};

enum class Access { kReadOnly, kReadWrite };

// A range of mapped memory; unmapped at the end. Page-aligned.
class Mapping {
 public:
  Mapping() = default;
  ~Mapping();
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;

  // The first n_bytes of a file, shared with everybody else who maps it. `what` names it in errors.
  static Result<Mapping> of_file(int fd, std::size_t n_bytes, Access access, const std::string& what);

  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  Mapping(std::byte* data, std::size_t size) : data_(data), size_(size) {}
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// The failure of a system call as a value, from errno: "memfd_create of rank 3's exchange memory: No memory".
Error system_error(const std::string& what);

}  // namespace concertina::transport
