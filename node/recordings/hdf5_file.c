#include "node/recordings/hdf5_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/size.h"

/* ---- a driver that reads one descriptor ---------------------------------------------------- */

struct driver {
  H5FD_t base; /* the library's, first */
  int fd;
  haddr_t end_of_file, end_of_addresses;
};

struct access {
  int fd;
  uint64_t size;
};

static H5FD_t *open_driver(const char *name, unsigned flags, hid_t list, haddr_t most) {
  const struct access *access = H5Pget_driver_info(list);
  (void)name;
  (void)most;
  if (!access || flags & H5F_ACC_RDWR)
    return NULL;
  struct driver *driver = calloc(1, sizeof *driver);
  if (!driver)
    return NULL;
  driver->fd = access->fd;
  driver->end_of_file = access->size;
  return &driver->base;
}

static herr_t close_driver(H5FD_t *file) {
  free(file);
  return 0;
}

static herr_t query(const H5FD_t *file, unsigned long *flags) {
  (void)file;
  *flags = H5FD_FEAT_DATA_SIEVE | H5FD_FEAT_AGGREGATE_METADATA;
  return 0;
}

static haddr_t get_end(const H5FD_t *file, H5FD_mem_t type) {
  (void)type;
  return ((const struct driver *)(const void *)file)->end_of_addresses;
}

static herr_t set_end(H5FD_t *file, H5FD_mem_t type, haddr_t end) {
  (void)type;
  ((struct driver *)(void *)file)->end_of_addresses = end;
  return 0;
}

static haddr_t get_size(const H5FD_t *file, H5FD_mem_t type) {
  (void)type;
  return ((const struct driver *)(const void *)file)->end_of_file;
}

static herr_t read_driver(H5FD_t *file, H5FD_mem_t type, hid_t list, haddr_t at, size_t size,
                          void *out) {
  const struct driver *driver = (const struct driver *)(const void *)file;
  (void)type;
  (void)list;
  for (uint8_t *p = out; size;) {
    ssize_t n = pread(driver->fd, p, size, (off_t)at);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return -1;
    if (n == 0) { /* behind the end: zeros, as the library's own drivers do */
      memset(p, 0, size);
      return 0;
    }
    p += n;
    at += (haddr_t)n;
    size -= (size_t)n;
  }
  return 0;
}

static herr_t write_driver(H5FD_t *file, H5FD_mem_t type, hid_t list, haddr_t at, size_t size,
                           const void *in) {
  (void)file;
  (void)type;
  (void)list;
  (void)at;
  (void)size;
  (void)in;
  return -1;
}

static const H5FD_class_t driver_class = {
    .name = "neurox-descriptor",
    .maxaddr = ((haddr_t)1 << 62) - 1,
    .fc_degree = H5F_CLOSE_STRONG,
    .fapl_size = sizeof(struct access),
    .open = open_driver,
    .close = close_driver,
    .query = query,
    .get_eoa = get_end,
    .set_eoa = set_end,
    .get_eof = get_size,
    .read = read_driver,
    .write = write_driver,
    .fl_map = H5FD_FLMAP_SINGLE,
};

int nx_hdf5_open(const struct nx_recording *recording, hid_t *file_out, struct nx_error *err) {
  static hid_t driver;
  const struct access access = {recording->fd, recording->file_size};
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
  H5PLset_loading_state(0);
  if (driver <= 0)
    driver = H5FDregister(&driver_class);
  hid_t list = H5Pcreate(H5P_FILE_ACCESS);
  *file_out = -1;
  if (list >= 0 && driver >= 0 && H5Pset_driver(list, driver, &access) >= 0 &&
      H5Pset_fclose_degree(list, H5F_CLOSE_STRONG) >= 0)
    *file_out = H5Fopen("recording", H5F_ACC_RDONLY, list);
  if (list >= 0)
    H5Pclose(list);
  return *file_out < 0 ? nx_fail(err, NX_E_FORMAT, "is no whole HDF5 file: copy it again") : 0;
}

/* ---- small things --------------------------------------------------------------------------- */

bool nx_hdf5_has(hid_t at, const char *path) {
  char part[256];
  size_t n = strlen(path);
  if (n == 0 || n >= sizeof part)
    return false;
  for (size_t i = 1; i <= n; i++) {
    H5L_info_t info;
    if (path[i] != '/' && path[i] != 0)
      continue;
    memcpy(part, path, i);
    part[i] = 0;
    if (H5Lexists(at, part, H5P_DEFAULT) <= 0 || H5Lget_info(at, part, &info, H5P_DEFAULT) < 0 ||
        info.type != H5L_TYPE_HARD)
      return false;
  }
  return true;
}

int nx_hdf5_sides(hid_t data, hsize_t sides[8]) {
  hid_t space = H5Dget_space(data);
  int rank = space < 0 ? 0 : H5Sget_simple_extent_ndims(space);
  if (rank < 1 || rank > 8 || H5Sget_simple_extent_dims(space, sides, NULL) != rank)
    rank = 0;
  if (space >= 0)
    H5Sclose(space);
  return rank;
}

size_t nx_hdf5_numbers(hid_t at, const char *name, double *out, size_t cap) {
  if (!nx_hdf5_has(at, name))
    return 0;
  hid_t data = H5Dopen2(at, name, H5P_DEFAULT), space = data < 0 ? -1 : H5Dget_space(data);
  hssize_t n = space < 0 ? 0 : H5Sget_simple_extent_npoints(space);
  if (n < 0 || (size_t)n > cap ||
      (n > 0 && H5Dread(data, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, out) < 0))
    n = 0;
  if (space >= 0)
    H5Sclose(space);
  if (data >= 0)
    H5Dclose(data);
  return (size_t)n;
}

double nx_hdf5_number(hid_t at, const char *name, double otherwise) {
  double value;
  return nx_hdf5_numbers(at, name, &value, 1) == 1 ? value : otherwise;
}

double nx_hdf5_number_attribute(hid_t at, const char *name, double otherwise) {
  double value = otherwise;
  if (H5Aexists(at, name) <= 0)
    return otherwise;
  hid_t attribute = H5Aopen(at, name, H5P_DEFAULT), space = H5Aget_space(attribute);
  if (H5Sget_simple_extent_npoints(space) != 1 || H5Aread(attribute, H5T_NATIVE_DOUBLE, &value) < 0)
    value = otherwise;
  H5Sclose(space);
  H5Aclose(attribute);
  return value;
}

/* One string, of variable or fixed length, from an open dataset or attribute. */
static void copy_string(hid_t id, bool attribute, char out[NX_HDF5_TEXT]) {
  hid_t type = attribute ? H5Aget_type(id) : H5Dget_type(id);
  hid_t space = attribute ? H5Aget_space(id) : H5Dget_space(id);
  out[0] = 0;
  if (H5Tget_class(type) == H5T_STRING && H5Sget_simple_extent_npoints(space) == 1) {
    char *variable = NULL, fixed[NX_HDF5_TEXT * 8] = "";
    if (H5Tis_variable_str(type) > 0) {
      if ((attribute ? H5Aread(id, type, &variable)
                     : H5Dread(id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, &variable)) >= 0 &&
          variable) {
        snprintf(out, NX_HDF5_TEXT, "%s", variable);
        H5free_memory(variable);
      }
    } else if (H5Tget_size(type) < sizeof fixed &&
               (attribute ? H5Aread(id, type, fixed)
                          : H5Dread(id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, fixed)) >= 0) {
      snprintf(out, NX_HDF5_TEXT, "%.*s", NX_HDF5_TEXT - 1, fixed);
    }
  }
  H5Sclose(space);
  H5Tclose(type);
}

void nx_hdf5_string(hid_t at, const char *name, char out[NX_HDF5_TEXT]) {
  out[0] = 0;
  hid_t data = nx_hdf5_has(at, name) ? H5Dopen2(at, name, H5P_DEFAULT) : -1;
  if (data >= 0) {
    copy_string(data, false, out);
    H5Dclose(data);
  }
}

void nx_hdf5_string_attribute(hid_t at, const char *name, char out[NX_HDF5_TEXT]) {
  out[0] = 0;
  if (H5Aexists(at, name) <= 0)
    return;
  hid_t attribute = H5Aopen(at, name, H5P_DEFAULT);
  copy_string(attribute, true, out);
  H5Aclose(attribute);
}

double nx_hdf5_rate_of_times(hid_t at, const char *name, uint64_t n, double *first_out) {
  double times[2] = {0, 0};
  hsize_t from = 0, step = n > 1 ? n - 1 : 1, two = 2;
  if (n < 2 || !nx_hdf5_has(at, name))
    return 0;
  hid_t data = H5Dopen2(at, name, H5P_DEFAULT), space = H5Dget_space(data);
  hid_t memory = H5Screate_simple(1, &two, NULL);
  bool all =
      H5Sget_simple_extent_ndims(space) == 1 && H5Sget_simple_extent_npoints(space) == (hssize_t)n;
  if (!all || H5Sselect_hyperslab(space, H5S_SELECT_SET, &from, &step, &two, NULL) < 0 ||
      H5Dread(data, H5T_NATIVE_DOUBLE, memory, space, H5P_DEFAULT, times) < 0)
    times[0] = times[1] = 0;
  H5Sclose(memory);
  H5Sclose(space);
  H5Dclose(data);
  *first_out = times[0];
  return times[1] > times[0] ? (double)(n - 1) / (times[1] - times[0]) : 0;
}
