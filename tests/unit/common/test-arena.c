#include "common/arena.h"

#include <stdint.h>
#include <string.h>

#include "tests/unit/cmocka_shim.h"

static void rewinding_gives_the_same_place_again(void **state) {
  (void)state;
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  assert_int_equal(nx_arena_create(0, &arena, NULL), 0);
  char *kept = nx_arena_alloc(arena, 1, 1000);
  strcpy(kept, "kept");
  const struct nx_arena_mark mark = nx_arena_mark(arena);
  char *first = nx_arena_take(arena, 1, 3000);
  const struct nx_arena_mark inner = nx_arena_mark(arena);
  nx_arena_take(arena, 1, 500);
  nx_arena_rewind(arena, &inner);
  assert_int_equal(nx_arena_used(arena), 1024 + 3008);
  nx_arena_rewind(arena, &mark);
  assert_ptr_equal(nx_arena_take(arena, 1, 3000), first);
  assert_string_equal(kept, "kept");
  assert_int_equal(nx_arena_used(arena), 1024 + 3008);
  assert_int_equal(nx_arena_peak(arena), 1024 + 3008 + 512);
}

/* What is taken between marks lies in many blocks at first, and in one after the third time. */
static void rewound_room_is_used_again(void **state) {
  (void)state;
  enum { TAKES = 40, SIZE = 50000 };
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  uint8_t *places[4][TAKES];
  assert_int_equal(nx_arena_create(0, &arena, NULL), 0);
  for (int step = 0; step < 4; step++) {
    uint8_t *outside = nx_arena_take(arena, 1, SIZE);
    memset(outside, 77, SIZE);
    for (int part = 0; part < 3; part++) {
      const struct nx_arena_mark mark = nx_arena_mark(arena);
      for (int i = 0; i < TAKES; i++)
        memset(places[step][i] = nx_arena_take(arena, 1, SIZE), i, SIZE);
      for (int i = 0; i < TAKES; i++) /* none lies on another */
        assert_true(places[step][i][0] == i && places[step][i][SIZE - 1] == i);
      nx_arena_rewind(arena, &mark);
    }
    assert_true(outside[0] == 77 && outside[SIZE - 1] == 77);
    nx_arena_reset(arena);
    assert_int_equal(nx_arena_used(arena) + nx_arena_peak(arena), 0);
  }
  assert_memory_equal(places[2], places[3], sizeof places[2]);
}

static void a_cap_holds_with_rewinding(void **state) {
  (void)state;
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  assert_int_equal(nx_arena_create(1 << 20, &arena, NULL), 0);
  for (int i = 0; i < 100; i++) {
    const struct nx_arena_mark mark = nx_arena_mark(arena);
    assert_non_null(nx_arena_take(arena, 1, 40000));
    assert_non_null(nx_arena_take(arena, 1, 300000));
    assert_null(nx_arena_take(arena, 1, 1 << 20));
    nx_arena_rewind(arena, &mark);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rewinding_gives_the_same_place_again),
      cmocka_unit_test(rewound_room_is_used_again),
      cmocka_unit_test(a_cap_holds_with_rewinding),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
