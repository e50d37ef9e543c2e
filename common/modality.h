/* Modality: what kind of signal a recording is, and by which tokeniser a network reads it
 * (design page "The shared model", its table of tokens).
 *
 *   tokeniser   modalities    rate      patch          inputs a token
 *   eeg         EEG, MEG      128 Hz    64 = 0.5 s     97
 *   ieeg        iEEG, LFP     128 Hz    64 = 0.5 s     97
 *   ieeg-fast   iEEG, LFP     512 Hz    64 = 0.125 s   97   (the second patch length of both)
 *   spikes      spikes         50 Hz    10 = 0.2 s     16
 *   calcium     calcium        20 Hz    10 = 0.5 s     16
 *   fmri        fMRI          1 / TR     4 = 4 TR       7
 *
 * A token's inputs are the n samples of a patch and its n / 2 + 1 log amplitudes. Rates and
 * patches are what a plan says (common/plan_modalities.h); the table above is what the example
 * plans have. All names are stable: they stand in plans, configs and model files. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum nx_modality {
  NX_MODALITY_EEG,
  NX_MODALITY_MEG,
  NX_MODALITY_IEEG, /* ECoG and sEEG */
  NX_MODALITY_LFP,
  NX_MODALITY_SPIKES,
  NX_MODALITY_CALCIUM,
  NX_MODALITY_FMRI,
  NX_MODALITIES
};

enum nx_species {
  NX_SPECIES_HUMAN,
  NX_SPECIES_MONKEY,
  NX_SPECIES_RAT,
  NX_SPECIES_MOUSE,
  NX_SPECIES_COUNT
};

/* What samples of a channel are relative to. */
enum nx_signal_reference {
  NX_SIGNAL_AS_RECORDED, /* one common electrode, or unknown */
  NX_SIGNAL_AVERAGE,     /* the mean of the channels */
  NX_SIGNAL_BIPOLAR,     /* a neighbour */
  NX_SIGNAL_ABSOLUTE,    /* nothing: counts, fluorescence, BOLD, magnetometers */
  NX_SIGNAL_REFERENCES
};

enum nx_tokeniser_kind {
  NX_TOKENISER_EEG,
  NX_TOKENISER_IEEG,
  NX_TOKENISER_IEEG_FAST,
  NX_TOKENISER_SPIKES,
  NX_TOKENISER_CALCIUM,
  NX_TOKENISER_FMRI,
  NX_TOKENISERS
};

/* "eeg", …; "?" for what is none. */
const char *nx_modality_name(enum nx_modality modality);
const char *nx_species_name(enum nx_species species);
const char *nx_signal_reference_name(enum nx_signal_reference reference);
const char *nx_tokeniser_name(enum nx_tokeniser_kind kind);

/* False when there is none of that name; "ecog", "seeg" are read as iEEG. */
bool nx_modality_from_name(const char *name, enum nx_modality *modality_out);
bool nx_species_from_name(const char *name, enum nx_species *species_out);

/* Whether that tokeniser reads that modality. */
bool nx_tokeniser_reads(enum nx_tokeniser_kind kind, enum nx_modality modality);
