/* Sandbox: a recording parsed in a process of its own, so that a hostile or broken file
 * costs that file and never the node.
 *
 *     node ── socketpair ──► neurox-reader        holds the one open file, nothing else:
 *      ▲                          │               no network, no other files, no programs
 *      └── shared window ◄────────┘               (seccomp), limits on memory and time
 *
 * The child cannot open anything: a sibling that a header names (BrainVision's .eeg) is asked
 * of the node, which opens plain names of the same folder only. What the child says is
 * checked like any other input. */
#pragma once

#include "node/recordings/recording.h"

/* Opens path as nx_recording_open() does, in a child that runs the program `reader`
 * (neurox-reader). The recording is used and closed as any other. A child that crashes, hangs
 * for longer than a minute or asks for too much memory is NX_E_FORMAT with the file's name;
 * a missing reader NX_E_NOT_FOUND. Safe after grpc_init: the child is spawned, not forked. */
int nx_recording_open_sandboxed(const char *reader, const char *path,
                                struct nx_recording **recording_out, struct nx_error *err);

/* The neurox-reader beside this program, or NULL when there is none. out: NX_PATH_SIZE bytes. */
const char *nx_sandbox_reader(char *out) __attribute__((nonnull));

/* Sandboxed when there is a reader beside this program, else in this process. */
int nx_recording_open_guarded(const char *path, struct nx_recording **recording_out,
                              struct nx_error *err);
