#include "tests/support/hdf5_edit.h"

#include <filesystem>
#include <functional>
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

PropertyHandle making_groups() {
  PropertyHandle links(H5Pcreate(H5P_LINK_CREATE));
  H5Pset_create_intermediate_group(links.get(), 1);
  return links;
}

SpaceHandle simple_space(const Shape& shape) {
  const std::vector<hsize_t> dims(shape.begin(), shape.end());
  return SpaceHandle(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr));
}

// A float64 dataset whose values are not written.
void make_dataset(const std::string& path, const std::string& name, const SpaceHandle& space,
                  const PropertyHandle& creation) {
  const FileHandle file = open_for_writing(path);
  const PropertyHandle links = making_groups();
  const DatasetHandle dataset(
      H5Dcreate2(file.get(), name.c_str(), H5T_NATIVE_DOUBLE, space.get(), links.get(), creation.get(), H5P_DEFAULT));
  require(dataset.valid(), "cannot make " + name);
}

template <class T>
void write_values(const std::string& path, const std::string& name, const Shape& shape, const std::vector<T>& values,
                  hid_t type) {
  const FileHandle file = open_for_writing(path);
  const SpaceHandle space = simple_space(shape);
  const PropertyHandle links = making_groups();
  const DatasetHandle dataset(
      H5Dcreate2(file.get(), name.c_str(), type, space.get(), links.get(), H5P_DEFAULT, H5P_DEFAULT));
  require(dataset.valid() && H5Dwrite(dataset.get(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) >= 0,
          "cannot write " + name);
}

void change_element(const std::string& path, const std::string& name, Index element,
                    const std::function<double(double)>& change) {
  const FileHandle file = open_for_writing(path);
  const DatasetHandle dataset(H5Dopen2(file.get(), name.c_str(), H5P_DEFAULT));
  require(dataset.valid(), "no dataset " + name);
  const SpaceHandle space(H5Dget_space(dataset.get()));
  std::vector<double> values(static_cast<std::size_t>(H5Sget_simple_extent_npoints(space.get())));
  require(H5Dread(dataset.get(), H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) >= 0,
          "cannot read " + name);
  double& value = values.at(static_cast<std::size_t>(element));
  value = change(value);
  require(H5Dwrite(dataset.get(), H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) >= 0,
          "cannot write " + name);
}

}  // namespace

void add_to_element(const std::string& path, const std::string& name, Index element, double delta) {
  change_element(path, name, element, [delta](double value) { return value + delta; });
}

void set_element(const std::string& path, const std::string& name, Index element, double value) {
  change_element(path, name, element, [value](double) { return value; });
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

void add_hard_link(const std::string& path, const std::string& existing, const std::string& name) {
  const FileHandle file = open_for_writing(path);
  const PropertyHandle links = making_groups();
  require(H5Lcreate_hard(file.get(), existing.c_str(), file.get(), name.c_str(), links.get(), H5P_DEFAULT) >= 0,
          "cannot link " + name);
}

void add_soft_link(const std::string& path, const std::string& target, const std::string& name) {
  const FileHandle file = open_for_writing(path);
  const PropertyHandle links = making_groups();
  require(H5Lcreate_soft(target.c_str(), file.get(), name.c_str(), links.get(), H5P_DEFAULT) >= 0,
          "cannot link " + name);
}

void add_external_link(const std::string& path, const std::string& other_file, const std::string& target,
                       const std::string& name) {
  const FileHandle file = open_for_writing(path);
  const PropertyHandle links = making_groups();
  require(
      H5Lcreate_external(other_file.c_str(), target.c_str(), file.get(), name.c_str(), links.get(), H5P_DEFAULT) >= 0,
      "cannot link " + name);
}

void add_virtual_dataset(const std::string& path, const std::string& other_file, const std::string& source,
                         const Shape& shape, const std::string& name) {
  const PropertyHandle creation(H5Pcreate(H5P_DATASET_CREATE));
  const SpaceHandle space = simple_space(shape);
  require(H5Pset_virtual(creation.get(), space.get(), other_file.c_str(), source.c_str(), space.get()) >= 0,
          "cannot map " + name);
  make_dataset(path, name, space, creation);
}

void add_externally_stored_dataset(const std::string& path, const std::string& raw_file, const Shape& shape,
                                   const std::string& name) {
  const PropertyHandle creation(H5Pcreate(H5P_DATASET_CREATE));
  require(H5Pset_external(creation.get(), raw_file.c_str(), 0, H5F_UNLIMITED) >= 0, "cannot store " + name);
  make_dataset(path, name, simple_space(shape), creation);
}

void claim_dataset(const std::string& path, const Shape& shape, const std::string& name) {
  const PropertyHandle creation(H5Pcreate(H5P_DATASET_CREATE));
  const std::vector<hsize_t> chunk(shape.size(), 1);
  require(H5Pset_chunk(creation.get(), static_cast<int>(chunk.size()), chunk.data()) >= 0, "cannot chunk " + name);
  make_dataset(path, name, simple_space(shape), creation);
}

void write_attribute(const std::string& path, const std::string& name, const std::string& value) {
  const FileHandle file = open_for_writing(path);
  const TypeHandle type(H5Tcopy(H5T_C_S1));
  H5Tset_size(type.get(), value.size() + 1);
  const SpaceHandle space(H5Screate(H5S_SCALAR));
  if (H5Aexists(file.get(), name.c_str()) > 0) H5Adelete(file.get(), name.c_str());
  const AttributeHandle attribute(
      H5Acreate2(file.get(), name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT));
  require(attribute.valid() && H5Awrite(attribute.get(), type.get(), value.c_str()) >= 0, "cannot write " + name);
}

void remove_attribute(const std::string& path, const std::string& name) {
  const FileHandle file = open_for_writing(path);
  require(H5Adelete(file.get(), name.c_str()) >= 0, "cannot remove " + name);
}

}  // namespace mlbench::test
