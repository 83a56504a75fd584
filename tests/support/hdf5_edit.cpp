#include "tests/support/hdf5_edit.h"

#include <filesystem>
#include <stdexcept>

#include "golden/hdf5_handle.h"

namespace mlbench::test {
namespace {

using namespace mlbench::golden;

void require(bool ok, const std::string& what) {
  if (!ok) throw std::runtime_error(what);
}

FileHandle open_for_writing(const std::string& path) {
  FileHandle file(std::filesystem::exists(path) ? H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT)
                                                : H5Fcreate(path.c_str(), H5F_ACC_EXCL, H5P_DEFAULT, H5P_DEFAULT));
  require(file.valid(), "cannot open " + path);
  return file;
}

template <class T>
void write_values(const std::string& path, const std::string& name, const Shape& shape, const std::vector<T>& values,
                  hid_t type) {
  const FileHandle file = open_for_writing(path);
  const std::vector<hsize_t> dims(shape.begin(), shape.end());
  const SpaceHandle space(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr));
  const PropertyHandle links(H5Pcreate(H5P_LINK_CREATE));
  H5Pset_create_intermediate_group(links.get(), 1);
  const DatasetHandle dataset(
      H5Dcreate2(file.get(), name.c_str(), type, space.get(), links.get(), H5P_DEFAULT, H5P_DEFAULT));
  require(dataset.valid() && H5Dwrite(dataset.get(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) >= 0,
          "cannot write " + name);
}

}  // namespace

void add_to_element(const std::string& path, const std::string& name, Index element, double delta) {
  const FileHandle file = open_for_writing(path);
  const DatasetHandle dataset(H5Dopen2(file.get(), name.c_str(), H5P_DEFAULT));
  require(dataset.valid(), "no dataset " + name);
  const SpaceHandle space(H5Dget_space(dataset.get()));
  std::vector<double> values(static_cast<std::size_t>(H5Sget_simple_extent_npoints(space.get())));
  require(H5Dread(dataset.get(), H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) >= 0,
          "cannot read " + name);
  values.at(static_cast<std::size_t>(element)) += delta;
  require(H5Dwrite(dataset.get(), H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) >= 0,
          "cannot write " + name);
}

void remove_dataset(const std::string& path, const std::string& name) {
  const FileHandle file = open_for_writing(path);
  require(H5Ldelete(file.get(), name.c_str(), H5P_DEFAULT) >= 0, "cannot remove " + name);
}

void write_dataset(const std::string& file, const std::string& dataset, const Shape& shape,
                   const std::vector<double>& values) {
  write_values(file, dataset, shape, values, H5T_NATIVE_DOUBLE);
}

void write_dataset(const std::string& file, const std::string& dataset, const Shape& shape,
                   const std::vector<std::int64_t>& values) {
  write_values(file, dataset, shape, values, H5T_NATIVE_INT64);
}

}  // namespace mlbench::test
