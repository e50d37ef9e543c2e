/* Cleanup: a variable owns what it holds until nx_steal() moves it out.
 *
 *     _cleanup_(nx_buffer_finish) struct nx_buffer body = {0};
 *     _cleanup_(nx_mask_destroyp) struct nx_mask *mask = NULL;
 */
#pragma once

#define _cleanup_(function) __attribute__((__cleanup__(function)))

/* Defines FUNCTIONp(TYPE *), which destroys what the variable points at. */
#define NX_DEFINE_CLEANUP(type, function)                                                          \
  static inline void function##p(type *value) {                                                    \
    if (*value)                                                                                    \
      function(*value);                                                                            \
  }

/* Takes the value out of a variable, so that its cleanup does nothing. */
#define nx_steal(pointer)                                                                          \
  __extension__({                                                                                  \
    __typeof__(*(pointer)) stolen_ = *(pointer);                                                   \
    *(pointer) = NULL;                                                                             \
    stolen_;                                                                                       \
  })

/* Variable cleanups for what libc owns. */
void nx_cleanup_free(void *pointer_to_pointer);
void nx_cleanup_fd(int *fd);
void nx_cleanup_file(void *pointer_to_file);

#define _cleanup_free_ _cleanup_(nx_cleanup_free)
#define _cleanup_fd_ _cleanup_(nx_cleanup_fd)
#define _cleanup_file_ _cleanup_(nx_cleanup_file)
