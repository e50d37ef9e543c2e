#include "common/modality.h"

#include <string.h>

#include "common/size.h"

static const char *const modalities[NX_MODALITIES] = {
    [NX_MODALITY_EEG] = "eeg",   [NX_MODALITY_MEG] = "meg",       [NX_MODALITY_IEEG] = "ieeg",
    [NX_MODALITY_LFP] = "lfp",   [NX_MODALITY_SPIKES] = "spikes", [NX_MODALITY_CALCIUM] = "calcium",
    [NX_MODALITY_FMRI] = "fmri",
};

static const char *const species[NX_SPECIES_COUNT] = {
    [NX_SPECIES_HUMAN] = "human",
    [NX_SPECIES_MONKEY] = "monkey",
    [NX_SPECIES_RAT] = "rat",
    [NX_SPECIES_MOUSE] = "mouse",
};

static const char *const references[NX_SIGNAL_REFERENCES] = {
    [NX_SIGNAL_AS_RECORDED] = "as-recorded",
    [NX_SIGNAL_AVERAGE] = "average",
    [NX_SIGNAL_BIPOLAR] = "bipolar",
    [NX_SIGNAL_ABSOLUTE] = "absolute",
};

static const struct {
  const char *name;
  unsigned modalities; /* a bit each */
} tokenisers[NX_TOKENISERS] = {
    [NX_TOKENISER_EEG] = {"eeg", 1u << NX_MODALITY_EEG | 1u << NX_MODALITY_MEG},
    [NX_TOKENISER_IEEG] = {"ieeg", 1u << NX_MODALITY_IEEG | 1u << NX_MODALITY_LFP},
    [NX_TOKENISER_IEEG_FAST] = {"ieeg-fast", 1u << NX_MODALITY_IEEG | 1u << NX_MODALITY_LFP},
    [NX_TOKENISER_SPIKES] = {"spikes", 1u << NX_MODALITY_SPIKES},
    [NX_TOKENISER_CALCIUM] = {"calcium", 1u << NX_MODALITY_CALCIUM},
    [NX_TOKENISER_FMRI] = {"fmri", 1u << NX_MODALITY_FMRI},
};

static const char *name_of(const char *const *names, size_t n, size_t i) {
  return i < n ? names[i] : "?";
}

static bool find(const char *const *names, size_t n, const char *name, size_t *index_out) {
  for (size_t i = 0; i < n; i++)
    if (!strcmp(names[i], name)) {
      *index_out = i;
      return true;
    }
  return false;
}

const char *nx_modality_name(enum nx_modality modality) {
  return name_of(modalities, NX_MODALITIES, (size_t)modality);
}

const char *nx_species_name(enum nx_species which) {
  return name_of(species, NX_SPECIES_COUNT, (size_t)which);
}

const char *nx_signal_reference_name(enum nx_signal_reference reference) {
  return name_of(references, NX_SIGNAL_REFERENCES, (size_t)reference);
}

const char *nx_tokeniser_name(enum nx_tokeniser_kind kind) {
  return (size_t)kind < NX_TOKENISERS ? tokenisers[kind].name : "?";
}

bool nx_modality_from_name(const char *name, enum nx_modality *modality_out) {
  size_t i;
  if (!strcmp(name, "ecog") || !strcmp(name, "seeg"))
    i = NX_MODALITY_IEEG;
  else if (!find(modalities, NX_MODALITIES, name, &i))
    return false;
  *modality_out = (enum nx_modality)i;
  return true;
}

bool nx_species_from_name(const char *name, enum nx_species *species_out) {
  size_t i;
  if (!find(species, NX_SPECIES_COUNT, name, &i))
    return false;
  *species_out = (enum nx_species)i;
  return true;
}

bool nx_tokeniser_reads(enum nx_tokeniser_kind kind, enum nx_modality modality) {
  return (size_t)kind < NX_TOKENISERS && (size_t)modality < NX_MODALITIES &&
         (tokenisers[kind].modalities & 1u << modality);
}
