/* Identity: does a header say who somebody is? Fields that look like a name, a date of birth or a
 * hospital number are noted by what they are, never by what they say; training refuses such a file
 * until it is cleaned (neurox-node deidentify) or its steward allows it
 * (data.allow_identifying_headers in node.yaml). A look at form, no proof: a nickname passes. */
#pragma once

#include "node/recordings/format.h"

/* Each is asked of one field, blanks around it forgiven; "", X, n/a, anon… are nobody. */
bool nx_looks_like_name(const char *text, size_t size);
bool nx_looks_like_number(const char *text, size_t size); /* six digits or more: a hospital's */
bool nx_looks_like_date(const char *text, size_t size);   /* a day, in any of the usual forms */

/* Adds a field's description to recording->info.identity ("patient name, birth date"), once. */
void nx_identity_note(struct nx_recording *recording, const char *what);

/* EDF, EDF+, BDF: the 80 bytes about the patient and the 80 about the recording. */
void nx_identity_edf(struct nx_recording *recording, const char patient[80], const char about[80]);
/* A line "key=value" or "key: value" whose key speaks of a subject (BrainVision, MAT headers). */
void nx_identity_line(struct nx_recording *recording, const char *line, size_t size);

/* What nx_format.identify is, for each format: notes the fields of an open recording. */
void nx_identify_edf(struct nx_recording *recording);
void nx_identify_brainvision(struct nx_recording *recording);
void nx_identify_matlab(struct nx_recording *recording);
void nx_identify_nifti(struct nx_recording *recording);
void nx_identify_fif(struct nx_recording *recording);
void nx_identify_hdf5(struct nx_recording *recording); /* in neurox-reader only */
