// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/torch_module.hpp"

#include "slalom/modules/tensor_files.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>
#include <vector>
#include <zlib.h>

#include "check.hpp"
#include "slalom/core/json.hpp"

namespace slalom {

namespace {

using Bytes = std::string;

[[noreturn]] void fail(const std::string& message, const std::string& where) {
  throw Error(ErrorKind::io, message, where);
}

Bytes read_bytes(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) fail("cannot be read", path);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

// ---- NPY: numpy/lib/format.py
// --------------------------------------------------------------------

struct Type {
  const char* name;
  at::ScalarType type;
};

constexpr Type k_types[] = {{"<f8", at::kDouble}, {"<f4", at::kFloat}, {"<i8", at::kLong},
                            {"<i4", at::kInt},    {"<i2", at::kShort}, {"|i1", at::kChar},
                            {"|u1", at::kByte},   {"|b1", at::kBool}};

/// The text after `key` in the header, which is a Python dictionary.
std::string after(const std::string& header, const std::string& key, const std::string& where) {
  const std::size_t found = header.find("'" + key + "':");
  if (found == std::string::npos) fail("no '" + key + "' in the header of the array", where);
  const std::size_t start = header.find_first_not_of(' ', found + key.size() + 3);
  return start == std::string::npos ? "" : header.substr(start);
}

std::vector<std::int64_t> parse_shape(const std::string& text, const std::string& where) {
  const std::size_t end = text.find(')');
  if (text.empty() || text[0] != '(' || end == std::string::npos) fail("no shape", where);
  std::vector<std::int64_t> shape;
  std::int64_t number = -1;
  for (const char c : text.substr(1, end)) {
    if (c >= '0' && c <= '9') {
      if (number > (std::int64_t{1} << 50)) fail("a shape that is too large", where);
      number = 10 * std::max<std::int64_t>(number, 0) + (c - '0');
    } else if (c == ',' || c == ')') {
      if (number >= 0) shape.push_back(number);
      number = -1;
    } else if (c != ' ') {
      fail("no shape", where);
    }
  }
  return shape;
}

Tensor parse_npy(const Bytes& bytes, const std::string& where) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  if (bytes.size() < 12 || bytes.compare(0, 6, "\x93NUMPY") != 0) fail("not an NPY file", where);
  const bool short_length = byte(6) == 1;
  std::size_t length = byte(8) + 256u * byte(9), start = 10;
  if (!short_length) {
    length +=
        (static_cast<std::size_t>(byte(10)) << 16) + (static_cast<std::size_t>(byte(11)) << 24);
    start = 12;
  }
  if (length > bytes.size() - start) fail("the header of the array is cut off", where);
  const std::string header = bytes.substr(start, length);
  const std::string descr = after(header, "descr", where);
  const bool fortran = after(header, "fortran_order", where).compare(0, 4, "True") == 0;
  std::vector<std::int64_t> shape = parse_shape(after(header, "shape", where), where);
  for (const Type& known : k_types) {
    if (descr.compare(0, 5, "'" + std::string(known.name) + "'") != 0) continue;
    std::size_t count = at::elementSize(known.type);
    for (const std::int64_t n : shape) {
      if (n > 0 && count > bytes.size() / static_cast<std::size_t>(n) + 1) {
        fail("fewer bytes than the shape asks for", where);
      }
      count *= static_cast<std::size_t>(n);
    }
    if (count != bytes.size() - start - length) {
      fail("the array has " + std::to_string(bytes.size() - start - length) + " bytes, its shape " +
               std::to_string(count),
           where);
    }
    if (fortran) std::reverse(shape.begin(), shape.end());
    const Tensor result = at::empty(shape, known.type);
    if (count > 0) std::memcpy(result.data_ptr(), bytes.data() + start + length, count);
    return fortran && shape.size() > 1
               ? result
                     .permute([&] {
                       std::vector<std::int64_t> order(shape.size());
                       for (std::size_t i = 0; i < order.size(); ++i) {
                         order[i] = static_cast<std::int64_t>(order.size() - 1 - i);
                       }
                       return order;
                     }())
                     .contiguous()
               : result;
  }
  fail("arrays of type " + descr.substr(0, descr.find(',')) +
           " are not read (float32, float64, bool and integers, little endian, are)",
       where);
}

Bytes format_npy(const Tensor& tensor, const std::string& where) {
  const Tensor values = tensor.detach().to(at::kCPU).contiguous();
  for (const Type& known : k_types) {
    if (known.type != values.scalar_type()) continue;
    std::string shape;
    for (std::int64_t i = 0; i < values.dim(); ++i) shape += std::to_string(values.size(i)) + ", ";
    if (values.dim() > 1) shape.resize(shape.size() - 2);
    if (values.dim() == 1) shape.pop_back();
    std::string header = "{'descr': '" + std::string(known.name) +
                         "', 'fortran_order': False, 'shape': (" + shape + "), }";
    header.append(63 - (10 + header.size()) % 64, ' ') += '\n';
    Bytes bytes("\x93NUMPY\x01\x00", 8);
    bytes += static_cast<char>(header.size() % 256);
    bytes += static_cast<char>(header.size() / 256);
    bytes += header;
    bytes.append(static_cast<const char*>(values.data_ptr()), values.nbytes());
    return bytes;
  }
  fail("tensors of this type are not written", where);
}

// ---- ZIP: PKWARE's APPNOTE
// -----------------------------------------------------------------------

std::uint64_t little(const Bytes& bytes, std::size_t at, std::size_t size,
                     const std::string& path) {
  if (at > bytes.size() || size > bytes.size() - at) fail("the archive is cut off", path);
  std::uint64_t value = 0;
  for (std::size_t i = size; i-- > 0;) {
    value = 256 * value + static_cast<unsigned char>(bytes[at + i]);
  }
  return value;
}

void put(Bytes& bytes, std::uint64_t value, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) bytes += static_cast<char>((value >> (8 * i)) & 0xff);
}

Bytes inflated(const Bytes& bytes, std::size_t start, std::size_t packed, std::size_t size,
               const std::string& where) {
  Bytes result(size, '\0');
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) fail("zlib does not start", where);
  int status = Z_OK;
  std::size_t in = 0, out = 0;
  constexpr std::size_t k_block = std::size_t{1} << 30;
  while (status == Z_OK) {
    const std::size_t n_in = std::min(packed - in, k_block), n_out = std::min(size - out, k_block);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data() + start + in));
    stream.avail_in = static_cast<uInt>(n_in);
    stream.next_out = reinterpret_cast<Bytef*>(result.data() + out);
    stream.avail_out = static_cast<uInt>(n_out);
    status = inflate(&stream, Z_NO_FLUSH);
    in += n_in - stream.avail_in;
    out += n_out - stream.avail_out;
    if (n_in == stream.avail_in && n_out == stream.avail_out) break;
  }
  inflateEnd(&stream);
  if (status != Z_STREAM_END || out != size) fail("compressed data that are damaged", where);
  return result;
}

/// One entry of the central directory, at `at`, which moves on to the next.
std::pair<std::string, Bytes> read_entry(const Bytes& bytes, std::size_t& at,
                                         const std::string& path) {
  const auto number = [&](std::size_t place, std::size_t size) {
    return little(bytes, place, size, path);
  };
  if (number(at, 4) != 0x02014b50) fail("the directory of the archive is damaged", path);
  const std::uint64_t method = number(at + 10, 2), crc = number(at + 16, 4);
  std::uint64_t packed = number(at + 20, 4), size = number(at + 24, 4), offset = number(at + 42, 4);
  const std::size_t name_size = number(at + 28, 2), extra_size = number(at + 30, 2);
  const std::size_t extra = at + 46 + name_size, end = extra + extra_size;
  if (end > bytes.size()) fail("the archive is cut off", path);
  const std::string name = bytes.substr(at + 46, name_size);
  for (std::size_t e = extra; e + 4 <= end; e += 4 + number(e + 2, 2)) {
    if (number(e, 2) != 1) continue;
    std::size_t field = e + 4;  // 64-bit numbers for those that do not fit
    for (std::uint64_t* value : {&size, &packed, &offset}) {
      if (*value != 0xffffffff) continue;
      *value = number(field, 8);
      field += 8;
    }
  }
  at = end + number(at + 32, 2);
  const std::string where = path + ":" + name;
  if (number(offset, 4) != 0x04034b50) fail("an entry that is damaged", where);
  const std::size_t start = offset + 30 + number(offset + 26, 2) + number(offset + 28, 2);
  if (start > bytes.size() || packed > bytes.size() - start)
    fail("an entry that is cut off", where);
  // Deflate packs at most 1032 to 1: no more memory is asked for than the file can fill.
  if (size > 1100 * (packed + 1)) fail("an entry whose size is wrong", where);
  Bytes content;
  if (method == 0) {
    content = bytes.substr(start, packed);
  } else if (method == 8) {
    content = inflated(bytes, start, packed, size, where);
  } else {
    fail("compression method " + std::to_string(method) + " is not known", where);
  }
  if (crc32_z(0, reinterpret_cast<const Bytef*>(content.data()), content.size()) != crc) {
    fail("the checksum does not match", where);
  }
  return {name, std::move(content)};
}

}  // namespace

Tensor read_npy(const std::string& path) { return parse_npy(read_bytes(path), path); }

NamedTensors read_npz(const std::string& path) {
  const Bytes bytes = read_bytes(path);
  const std::size_t end = bytes.rfind("PK\x05\x06");
  if (end == std::string::npos) fail("not an NPZ file", path);
  if (little(bytes, end + 20, 2, path) != bytes.size() - end - 22) {
    fail("the directory of the archive is damaged", path);
  }
  std::uint64_t count = little(bytes, end + 10, 2, path), at = little(bytes, end + 16, 4, path);
  if (at == 0xffffffff || count == 0xffff) {
    const std::size_t large = bytes.rfind("PK\x06\x06", end);
    if (large == std::string::npos) fail("the directory of the archive is damaged", path);
    count = little(bytes, large + 32, 8, path);
    at = little(bytes, large + 48, 8, path);
  }
  NamedTensors result;
  for (std::size_t place = at; count-- > 0;) {
    auto [name, content] = read_entry(bytes, place, path);
    const Tensor tensor = parse_npy(content, path + ":" + name);
    if (name.size() > 4 && name.ends_with(".npy")) name.resize(name.size() - 4);
    if (!result.emplace(name, tensor).second) fail("two arrays named '" + name + "'", path);
  }
  return result;
}

void write_npz(const std::string& path, const NamedTensors& tensors) {
  Bytes bytes, directory;
  for (const auto& [key, tensor] : tensors) {
    const std::string name = key + ".npy";
    const Bytes content = format_npy(tensor, path + ":" + key);
    if (content.size() + bytes.size() > 0xf0000000u) fail("more than 4 GB", path);
    Bytes common;  // what both headers have: version 2.0, stored, 1 January 1980
    put(common, 20, 2);
    put(common, 0, 2);
    put(common, 0, 2);
    put(common, 0, 2);
    put(common, 33, 2);
    put(common, crc32_z(0, reinterpret_cast<const Bytef*>(content.data()), content.size()), 4);
    put(common, content.size(), 4);
    put(common, content.size(), 4);
    put(common, name.size(), 2);
    put(common, 0, 2);
    directory += "PK\x01\x02";
    put(directory, 20, 2);
    directory += common;
    directory.append(10, '\0');
    put(directory, bytes.size(), 4);
    directory += name;
    bytes += "PK\x03\x04" + common + name + content;
  }
  const std::size_t start = bytes.size();
  bytes += directory + "PK\x05\x06";
  put(bytes, 0, 4);
  put(bytes, tensors.size(), 2);
  put(bytes, tensors.size(), 2);
  put(bytes, directory.size(), 4);
  put(bytes, start, 4);
  put(bytes, 0, 2);
  write_text(path, bytes);
}

NamedTensors named_tensors(const torch::nn::Module& module) {
  NamedTensors result;
  for (const auto& entry : module.named_parameters()) {
    result[entry.key()] = entry.value().detach().clone();
  }
  for (const auto& entry : module.named_buffers()) {
    result[entry.key()] = entry.value().detach().clone();
  }
  return result;
}

void load_tensors(torch::nn::Module& module, const NamedTensors& tensors) {
  NamedTensors own;  // these share the module's memory
  for (const auto& entry : module.named_parameters()) own[entry.key()] = entry.value();
  for (const auto& entry : module.named_buffers()) own[entry.key()] = entry.value();
  for (const auto& [name, tensor] : tensors) {
    detail::require(own.count(name) > 0, "'" + name + "' is not part of the module", "tensors");
  }
  for (const auto& [name, target] : own) {
    const auto found = tensors.find(name);
    detail::require(found != tensors.end(), "'" + name + "' is missing", "tensors");
    detail::require(found->second.sizes() == target.sizes(),
                    "'" + name + "' has the shape " + detail::shape_of(found->second) +
                        " instead of " + detail::shape_of(target),
                    "tensors");
  }
  const at::NoGradGuard guard;
  for (const auto& [name, target] : own) {
    Tensor destination = target;
    destination.copy_(tensors.at(name));
  }
}

}  // namespace slalom
