// SPDX-License-Identifier: Apache-2.0
/// \file
/// Writes small HDF5 files, as pandas and h5py would. Only where slalom was built with HDF5.
#pragma once

#ifdef SLALOM_HAVE_HDF5

#include <cstring>
#include <hdf5.h>
#include <string>
#include <vector>

#include "support/catch.hpp"

namespace slalom::test {

/// A file that is being written; complete when it goes out of scope.
class Hdf5Writer {
 public:
  explicit Hdf5Writer(const std::string& path)
      : file_(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT)) {
    REQUIRE(file_ >= 0);
  }
  Hdf5Writer(const Hdf5Writer&) = delete;
  Hdf5Writer& operator=(const Hdf5Writer&) = delete;
  ~Hdf5Writer() { H5Fclose(file_); }

  void group(const std::string& name) {
    H5Gclose(H5Gcreate2(file_, name.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  }
  /// Numbers of any shape, stored as `type`. \param filter of the compression, none for 0
  void numbers(const std::string& name, const std::vector<hsize_t>& shape,
               const std::vector<double>& values, hid_t type = H5T_NATIVE_DOUBLE,
               H5Z_filter_t filter = 0) {
    const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    if (filter != 0) {
      H5Pset_chunk(properties, static_cast<int>(shape.size()), shape.data());
      // Optional, so that a filter that is not there is recorded all the same.
      H5Pset_filter(properties, filter, H5Z_FLAG_OPTIONAL, 0, nullptr);
    }
    write(name, shape, type, H5T_NATIVE_DOUBLE, values.data(), properties);
    H5Pclose(properties);
  }
  /// Texts of a fixed length, padded with zeros, as pandas stores names.
  void names(const std::string& name, const std::vector<std::string>& texts,
             std::size_t size = 10) {
    std::vector<char> bytes(texts.size() * size, '\0');
    for (std::size_t i = 0; i < texts.size(); ++i) {
      std::memcpy(bytes.data() + i * size, texts[i].data(), texts[i].size());
    }
    const hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, size);
    H5Tset_strpad(type, H5T_STR_NULLPAD);
    write(name, {texts.size()}, type, type, bytes.data(), H5P_DEFAULT);
    H5Tclose(type);
  }
  /// Texts of variable length, as h5py stores them.
  void variable_names(const std::string& name, const std::vector<std::string>& texts) {
    std::vector<const char*> pointers;
    for (const std::string& text : texts) pointers.push_back(text.c_str());
    const hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, H5T_VARIABLE);
    write(name, {texts.size()}, type, type, pointers.data(), H5P_DEFAULT);
    H5Tclose(type);
  }
  /// False and true, as h5py stores booleans.
  void booleans(const std::string& name, const std::vector<signed char>& values) {
    const hid_t type = H5Tenum_create(H5T_NATIVE_SCHAR);
    signed char value = 0;
    H5Tenum_insert(type, "FALSE", &value);
    value = 1;
    H5Tenum_insert(type, "TRUE", &value);
    write(name, {values.size()}, type, type, values.data(), H5P_DEFAULT);
    H5Tclose(type);
  }

 private:
  void write(const std::string& name, const std::vector<hsize_t>& shape, hid_t stored, hid_t memory,
             const void* values, hid_t properties) {
    const hid_t space = H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr);
    const hid_t data =
        H5Dcreate2(file_, name.c_str(), stored, space, H5P_DEFAULT, properties, H5P_DEFAULT);
    REQUIRE(data >= 0);
    CHECK(H5Dwrite(data, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    H5Dclose(data);
    H5Sclose(space);
  }

  hid_t file_;
};

/// A frame of pandas in its fixed format with one block of float64.
inline void write_frame(Hdf5Writer& to, const std::string& group,
                        const std::vector<std::string>& columns,
                        const std::vector<double>& values) {
  to.group(group);
  to.names(group + "/axis0", columns);
  to.names(group + "/block0_items", columns);
  std::vector<double> rows;
  const std::size_t n = values.size() / columns.size();
  for (std::size_t i = 0; i < n; ++i) rows.push_back(static_cast<double>(i));
  to.numbers(group + "/axis1", {n}, rows, H5T_NATIVE_INT64);
  to.numbers(group + "/block0_values", {n, columns.size()}, values);
}

}  // namespace slalom::test

#endif
