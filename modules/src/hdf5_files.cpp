// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/hdf5_files.hpp"

#include "slalom/core/error.hpp"

#ifdef SLALOM_HAVE_HDF5
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <algorithm>
#include <array>
#include <cstring>
#include <hdf5.h>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#endif

namespace slalom {

#ifndef SLALOM_HAVE_HDF5

bool has_hdf5() { return false; }

Hdf5Table read_hdf5_table(const std::string& path, const std::string&, std::int64_t) {
  throw Error(ErrorKind::io,
              "slalom was built without HDF5 (SLALOM_WITH_HDF5; Debian: libhdf5-dev)", path);
}

#else

namespace {

[[noreturn]] void fail(const std::string& message, const std::string& where) {
  throw Error(ErrorKind::io, message, where);
}

/// An open object of the library.
class Handle {
 public:
  Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  hid_t id() const { return id_; }
  bool open() const { return id_ >= 0; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

/// The library prints its errors unless it is told not to.
class Silence {
 public:
  Silence() {
    H5Eget_auto2(H5E_DEFAULT, &function_, &data_);
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;
  ~Silence() { H5Eset_auto2(H5E_DEFAULT, function_, data_); }

 private:
  H5E_auto2_t function_ = nullptr;
  void* data_ = nullptr;
};

/// What the library says about the innermost cause of its last error.
std::string reason() {
  std::string text;
  const auto keep = [](unsigned, const H5E_error2_t* error, void* to) -> herr_t {
    if (error->desc != nullptr) *static_cast<std::string*>(to) = error->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep, &text);
  return text.empty() ? "unknown error" : text;
}

enum class Kind { group, dataset, other };

struct Member {
  std::string name;
  Kind kind = Kind::other;
};

/// An object of a file, with its place for messages.
struct Node {
  hid_t file;
  std::string path;  // of the file
  std::string name;  // in it; empty for the root

  std::string inside() const { return name.empty() ? "/" : name; }
  std::string where() const { return path + ":" + inside(); }
  Node at(const std::string& member) const {
    return {file, path, name.empty() ? member : name + "/" + member};
  }
};

Kind kind_of(const Node& node) {
  const Handle object(H5Oopen(node.file, node.inside().c_str(), H5P_DEFAULT), H5Oclose);
  if (!object.open()) return Kind::other;
  const H5I_type_t type = H5Iget_type(object.id());
  return type == H5I_GROUP ? Kind::group : type == H5I_DATASET ? Kind::dataset : Kind::other;
}

std::vector<Member> members(const Node& node) {
  const Handle group(H5Gopen2(node.file, node.inside().c_str(), H5P_DEFAULT), H5Gclose);
  H5G_info_t info{};
  if (!group.open() || H5Gget_info(group.id(), &info) < 0) fail(reason(), node.where());
  std::vector<Member> result;
  for (hsize_t i = 0; i < info.nlinks; ++i) {
    const ssize_t length =
        H5Lget_name_by_idx(group.id(), ".", H5_INDEX_NAME, H5_ITER_INC, i, nullptr, 0, H5P_DEFAULT);
    if (length < 0) fail(reason(), node.where());
    std::string name(static_cast<std::size_t>(length) + 1, '\0');
    H5Lget_name_by_idx(group.id(), ".", H5_INDEX_NAME, H5_ITER_INC, i, name.data(), name.size(),
                       H5P_DEFAULT);
    name.pop_back();
    result.push_back({name, kind_of(node.at(name))});
  }
  return result;
}

/// An open dataset with its shape.
struct Dataset {
  Handle dataset, type, space;
  std::vector<hsize_t> shape{};

  explicit Dataset(const Node& node)
      : dataset(H5Dopen2(node.file, node.inside().c_str(), H5P_DEFAULT), H5Dclose),
        type(dataset.open() ? H5Dget_type(dataset.id()) : -1, H5Tclose),
        space(dataset.open() ? H5Dget_space(dataset.id()) : -1, H5Sclose) {
    if (!type.open() || !space.open()) fail("no dataset: " + reason(), node.where());
    const int rank = H5Sget_simple_extent_ndims(space.id());
    if (rank < 0) fail(reason(), node.where());
    shape.resize(static_cast<std::size_t>(rank));
    if (rank > 0) H5Sget_simple_extent_dims(space.id(), shape.data(), nullptr);
    check_filters(node);
  }

 private:
  void check_filters(const Node& node) const {
    const Handle properties(H5Dget_create_plist(dataset.id()), H5Pclose);
    const int n = properties.open() ? H5Pget_nfilters(properties.id()) : 0;
    for (int i = 0; i < n; ++i) {
      unsigned flags = 0, settings = 0;
      std::size_t values = 0;
      std::array<char, 64> name{};
      const H5Z_filter_t filter =
          H5Pget_filter2(properties.id(), static_cast<unsigned>(i), &flags, &values, nullptr,
                         name.size(), name.data(), &settings);
      if (filter >= 0 && H5Zfilter_avail(filter) > 0) continue;
      fail("compressed by the filter '" + std::string(name.data()) + "' (" +
               std::to_string(filter) +
               "), which the HDF5 library here does not have; write the file without it, or with "
               "zlib",
           node.where());
    }
  }
};

bool is_number(const Dataset& data) {
  const H5T_class_t kind = H5Tget_class(data.type.id());
  // h5py and pandas store booleans as an enumeration of 8-bit integers, or as such.
  return kind == H5T_INTEGER || kind == H5T_FLOAT || kind == H5T_ENUM || kind == H5T_BITFIELD;
}

const char* type_name(const Dataset& data) {
  switch (H5Tget_class(data.type.id())) {
    case H5T_STRING:
      return "texts";
    case H5T_COMPOUND:
      return "a compound type";
    case H5T_VLEN:
      return "objects of variable length";
    default:
      return "no numbers";
  }
}

/// Rows of a dataset of numbers [n] or [n, k]. \param max_rows negative: all
Tensor read_numbers(const Node& node, std::int64_t max_rows) {
  const Dataset data(node);
  if (!is_number(data)) fail(std::string(type_name(data)) + " instead of numbers", node.where());
  if (data.shape.empty() || data.shape.size() > 2) {
    fail("a dataset of " + std::to_string(data.shape.size()) + " dimensions, one or two expected",
         node.where());
  }
  std::vector<hsize_t> shape = data.shape;
  if (max_rows >= 0) shape[0] = std::min(shape[0], static_cast<hsize_t>(max_rows));
  std::vector<std::int64_t> sizes(shape.begin(), shape.end());
  Tensor values = at::empty(sizes, at::kDouble);
  if (values.numel() == 0) return values;
  const std::array<hsize_t, 2> from{0, 0};
  const Handle memory(H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr),
                      H5Sclose);
  // An enumeration is read as the integers that stand for it.
  const bool plain =
      H5Tget_class(data.type.id()) != H5T_ENUM && H5Tget_class(data.type.id()) != H5T_BITFIELD;
  if (H5Sselect_hyperslab(data.space.id(), H5S_SELECT_SET, from.data(), nullptr, shape.data(),
                          nullptr) < 0) {
    fail(reason(), node.where());
  }
  if (plain) {
    if (H5Dread(data.dataset.id(), H5T_NATIVE_DOUBLE, memory.id(), data.space.id(), H5P_DEFAULT,
                values.data_ptr<double>()) < 0) {
      fail("cannot be read: " + reason(), node.where());
    }
    return values;
  }
  if (H5Tget_size(data.type.id()) != 1) fail("an enumeration of large integers", node.where());
  std::vector<signed char> bytes(static_cast<std::size_t>(values.numel()));
  if (H5Dread(data.dataset.id(), data.type.id(), memory.id(), data.space.id(), H5P_DEFAULT,
              bytes.data()) < 0) {
    fail("cannot be read: " + reason(), node.where());
  }
  std::copy(bytes.begin(), bytes.end(), values.data_ptr<double>());
  return values;
}

/// Names [k]: texts of fixed or variable length, or integers.
std::vector<std::string> read_names(const Node& node) {
  const Dataset data(node);
  if (data.shape.size() != 1) fail("names in one dimension expected", node.where());
  const auto n = static_cast<std::size_t>(data.shape[0]);
  std::vector<std::string> names;
  if (H5Tget_class(data.type.id()) == H5T_INTEGER) {
    const Tensor numbers = read_numbers(node, -1);
    for (std::size_t i = 0; i < n; ++i) {
      names.push_back(std::to_string(static_cast<std::int64_t>(numbers.data_ptr<double>()[i])));
    }
    return names;
  }
  if (H5Tget_class(data.type.id()) != H5T_STRING) {
    fail(std::string(type_name(data)) + " instead of names", node.where());
  }
  if (n == 0) return names;
  if (H5Tis_variable_str(data.type.id()) > 0) {
    std::vector<char*> texts(n, nullptr);
    if (H5Dread(data.dataset.id(), data.type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, texts.data()) <
        0) {
      fail("cannot be read: " + reason(), node.where());
    }
    for (const char* text : texts) names.emplace_back(text == nullptr ? "" : text);
    H5Dvlen_reclaim(data.type.id(), data.space.id(), H5P_DEFAULT, texts.data());
    return names;
  }
  const std::size_t size = H5Tget_size(data.type.id());
  std::vector<char> text(n * size);
  if (H5Dread(data.dataset.id(), data.type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, text.data()) < 0) {
    fail("cannot be read: " + reason(), node.where());
  }
  for (std::size_t i = 0; i < n; ++i) {
    const char* begin = text.data() + i * size;
    names.emplace_back(begin, strnlen(begin, size));
  }
  return names;
}

bool has(const std::vector<Member>& all, const std::string& name) {
  return std::any_of(all.begin(), all.end(), [&](const Member& m) { return m.name == name; });
}

/// The columns of a table by name, before they are put beside each other.
class Columns {
 public:
  void add(const std::string& name, const Tensor& values, const Node& node) {
    if (std::find(names_.begin(), names_.end(), name) != names_.end()) {
      fail("two columns named '" + name + "'", node.where());
    }
    if (!names_.empty() && values.size(0) != columns_.front().size(0)) {
      fail(std::to_string(values.size(0)) + " rows, but '" + names_.front() + "' has " +
               std::to_string(columns_.front().size(0)),
           node.where());
    }
    names_.push_back(name);
    columns_.push_back(values);
  }
  /// A dataset [n], or [n, k].
  void add_dataset(const std::string& name, const Tensor& values, const Node& node) {
    if (values.dim() == 1) return add(name, values, node);
    for (std::int64_t j = 0; j < values.size(1); ++j) {
      add(name + "[" + std::to_string(j) + "]", values.select(1, j), node);
    }
  }
  Hdf5Table table(const Node& node) const { return table(names_, node); }
  Hdf5Table table(const std::vector<std::string>& order, const Node& node) const {
    Hdf5Table result;
    std::vector<Tensor> parts;
    for (const std::string& name : order) {
      const auto found = std::find(names_.begin(), names_.end(), name);
      if (found == names_.end()) fail("no values of the column '" + name + "'", node.where());
      parts.push_back(columns_[static_cast<std::size_t>(found - names_.begin())].unsqueeze(1));
      result.columns.push_back(name);
    }
    if (parts.empty()) fail("there are no columns", node.where());
    result.values = at::cat(parts, 1);
    return result;
  }

 private:
  std::vector<std::string> names_;
  std::vector<Tensor> columns_;
};

bool is_frame(const std::vector<Member>& all) {
  return has(all, "axis0") && (has(all, "block0_values") || has(all, "block0_items"));
}

/// A frame of pandas in its fixed format.
Hdf5Table read_frame(const Node& node, const std::vector<Member>& all, std::int64_t max_rows) {
  Columns columns;
  for (int block = 0; has(all, "block" + std::to_string(block) + "_items"); ++block) {
    const std::string stem = "block" + std::to_string(block);
    const Node place = node.at(stem + "_values");
    const std::vector<std::string> items = read_names(node.at(stem + "_items"));
    const Tensor values = read_numbers(place, max_rows);
    if (values.dim() != 2 || values.size(1) != static_cast<std::int64_t>(items.size())) {
      fail(
          "the shape does not fit " + std::to_string(items.size()) + " names in " + stem + "_items",
          place.where());
    }
    for (std::size_t j = 0; j < items.size(); ++j) {
      columns.add(items[j], values.select(1, static_cast<std::int64_t>(j)), place);
    }
  }
  return columns.table(read_names(node.at("axis0")), node.at("axis0"));
}

Hdf5Table read_group(const Node& node, std::int64_t max_rows, bool descend);

Hdf5Table read_dataset(const Node& node, std::int64_t max_rows) {
  const std::size_t slash = node.name.rfind('/');
  const std::string name = slash == std::string::npos ? node.name : node.name.substr(slash + 1);
  Columns columns;
  columns.add_dataset(name, read_numbers(node, max_rows), node);
  return columns.table(node);
}

Hdf5Table read_node(const Node& node, std::int64_t max_rows, bool descend) {
  switch (kind_of(node)) {
    case Kind::group:
      return read_group(node, max_rows, descend);
    case Kind::dataset:
      return read_dataset(node, max_rows);
    default:
      fail("neither a group nor a dataset", node.where());
  }
}

/// \param descend into the only member if that is a group
Hdf5Table read_group(const Node& node, std::int64_t max_rows, bool descend) {
  const std::vector<Member> all = members(node);
  if (is_frame(all)) return read_frame(node, all, max_rows);
  if (has(all, "table") && has(all, "_i_table")) {
    fail("a frame in the format 'table' of pandas; write it with format='fixed', the default",
         node.where());
  }
  if (descend && all.size() == 1 && all.front().kind == Kind::group) {
    return read_group(node.at(all.front().name), max_rows, false);
  }
  Columns columns;
  std::string groups;
  for (const Member& member : all) {
    if (member.kind == Kind::dataset) {
      const Node place = node.at(member.name);
      columns.add_dataset(member.name, read_numbers(place, max_rows), place);
    } else {
      groups += (groups.empty() ? "" : ", ") + member.name;
    }
  }
  if (!groups.empty()) {
    fail("there are several objects, name one of them (groups: " + groups + ")", node.where());
  }
  return columns.table(node);
}

}  // namespace

bool has_hdf5() { return true; }

Hdf5Table read_hdf5_table(const std::string& path, const std::string& name, std::int64_t max_rows) {
  static std::mutex one_at_a_time;  // the library need not be built for threads
  const std::lock_guard<std::mutex> lock(one_at_a_time);
  const Silence silence;
  const Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  if (!file.open()) fail("cannot be read as HDF5: " + reason(), path);
  const Node root{file.id(), path, ""};
  if (name.empty()) return read_group(root, max_rows, true);
  std::string inside = name;
  while (inside.starts_with('/')) inside.erase(0, 1);
  if (inside.empty()) return read_group(root, max_rows, false);
  const Node node = root.at(inside);
  if (kind_of(node) == Kind::other) {
    std::string there;
    for (const Member& member : members(root)) {
      there += (there.empty() ? "" : ", ") + member.name;
    }
    fail("there is no such object (there are: " + there + ")", node.where());
  }
  return read_node(node, max_rows, false);
}

#endif

}  // namespace slalom
