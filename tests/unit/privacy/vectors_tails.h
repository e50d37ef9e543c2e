/* Written by tests/oracle/privacy_vectors.py; do not edit. */
#pragma once

#include <stdint.h>

static const struct vector_skellam_tail {
  double mu; uint32_t k; uint64_t tail[2];
} vectors_skellam_tail[] = {
    {1, 0, {0x88c3fa759667c7dbu, 0x3ad597af9a476590u}},
    {1, 1, {0x1e50be90bcebc725u, 0xec49fa225048b8d8u}},
    {1, 2, {0x04bf2b459cb35846u, 0xff0c649c18d4dd69u}},
    {1, 4, {0x000e4194377e4388u, 0x11b9345bfe4d3cd9u}},
    {1, 7, {0x0000014d1c7d37b4u, 0x9241bb0f5cc370abu}},
    {1, 10, {0x000000000a8a7e74u, 0x0317bcc8a7eaf937u}},
    {1, 12, {0x0000000000044910u, 0x2ede23120f44e872u}},
    {1, 13, {0x0000000000002709u, 0xf382038ecaba657eu}},
    {3.7, 0, {0xc8b0fbd9b20d7d77u, 0x1b6e17796f05db9cu}},
    {3.7, 1, {0x6a90fcf1b5078816u, 0xfddb9d1e8f50d424u}},
    {3.7, 3, {0x1148faa515bf2afdu, 0x2c1716337a52e057u}},
    {3.7, 7, {0x0013dfc3d8ec9cd4u, 0x1d4ab43fada7cbd1u}},
    {3.7, 13, {0x000000131cd40442u, 0xd7ffb49dc10e6316u}},
    {3.7, 19, {0x000000000001a01eu, 0xa8e70f43bcbdc919u}},
    {3.7, 23, {0x0000000000000004u, 0xb298f2a042855713u}},
    {3.7, 25, {0x0000000000000000u, 0x063b8ff638e7d72cu}},
    {64, 0, {0xf3356cbad005905eu, 0xa0aedd68d73185e2u}},
    {64, 4, {0x92a648ce02bbbc2fu, 0x6aa813caeea1507du}},
    {64, 8, {0x497fc737a6e81c07u, 0x664ec8c53e9b91d0u}},
    {64, 16, {0x0a08a4dac62881d1u, 0xe595b1ba546c7e32u}},
    {64, 32, {0x0003a31226cfe5b6u, 0x8342805a047f8be2u}},
    {64, 56, {0x00000000065dab9bu, 0xaa240d9dd3cbdb27u}},
    {64, 80, {0x0000000000000000u, 0x03f1757abefa1ad9u}},
    {64, 96, {0x0000000000000000u, 0x00000000cbc45d18u}},
    {64, 104, {0x0000000000000000u, 0x0000000000027be1u}},
    {1000.25, 0, {0xfcc5384b2158a1cfu, 0x445418ce942cde4eu}},
    {1000.25, 15, {0x9fbf6bf86b0e1ce7u, 0xa3308f6edca0bfb7u}},
    {1000.25, 31, {0x51b6a06bfa05e28eu, 0x941af6b5f78f5ffdu}},
    {1000.25, 63, {0x0b6f2fe02735af70u, 0x7013af6a74010315u}},
    {1000.25, 126, {0x000430aea7e9e77du, 0x270998756577a73du}},
    {1000.25, 221, {0x0000000003027a88u, 0x2a87aec9428534bfu}},
    {1000.25, 316, {0x0000000000000000u, 0x00195b5f50c0e4eau}},
    {1000.25, 379, {0x0000000000000000u, 0x000000000029df6fu}},
    {1000.25, 411, {0x0000000000000000u, 0x000000000000000bu}},
};

static const struct vector_gaussian_tail {
  uint32_t k; uint64_t tail[2];
} vectors_gaussian_tail[] = {
    {0, {0xfffe677bacc3ccf3u, 0x2eac8cd21f948700u}},
    {1, {0xfffb36730664ef1eu, 0xbf40ab27b76bf160u}},
    {2, {0xfff8056a6052aa19u, 0xe4bc4a97f14e1a06u}},
    {100, {0xfebf409e7712e04bu, 0x2ae59f160021ed7bu}},
    {8192, {0x9df73959b9592601u, 0x02ad673a3084e435u}},
    {16384, {0x513a4b27be1dc06du, 0xb9be9a5d0552f07au}},
    {16385, {0x51385ba12373f253u, 0x69eac76be87f69a3u}},
    {50000, {0x00951538ffc4e90fu, 0xf89028d45afe414au}},
    {100000, {0x0000000474a3d4adu, 0xe85900aaace9a160u}},
    {150000, {0x0000000000000000u, 0xfff9d1d0f57ada00u}},
    {200000, {0x0000000000000000u, 0x0000000000017ad3u}},
    {214000, {0x0000000000000000u, 0x0000000000000001u}},
};
