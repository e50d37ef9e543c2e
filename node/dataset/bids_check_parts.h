/* BIDS check, inside: one file for each kind of rule. */
#pragma once

#include "node/dataset/bids_check.h"

void nx_bids_check_name(const struct nx_bids_tree *tree, const struct nx_bids_file *file,
                        struct nx_findings *findings);
void nx_bids_check_sidecar(const struct nx_bids_tree *tree, const struct nx_bids_file *file,
                           struct nx_findings *findings);
void nx_bids_check_json_file(const struct nx_bids_tree *tree, const struct nx_bids_file *file,
                             struct nx_findings *findings);
void nx_bids_check_table(const struct nx_bids_tree *tree, const struct nx_bids_file *file,
                         struct nx_findings *findings);
/* word is in a list of words with blanks between them. */
bool nx_word_in(const char *word, const char *list);
