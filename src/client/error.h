#pragma once

namespace concertina::client {

enum class ClientError {
  kInvalidUrl,
  kUnreachable,  // no connection: nobody listens, or the name does not resolve
  kTimeout,      // a deadline passed; the message says which
  kBroken,       // the connection ended or was reset in the middle
  kInvalid,      // the answer is not what the contract says
  kStatus,       // an HTTP status other than 2xx; the message has the server's words
  kInterrupted,  // the caller asked to stop
};

}  // namespace concertina::client
