/* Figures of a survey's page, as inline SVG. */
#pragma once

#include "node/dataset/survey.h"

/* Text with &, <, > and " escaped. */
void nx_page_text(FILE *out, const char *text);
void nx_page_spectra(FILE *out, const struct nx_survey *survey);
/* Seen from above; where there are coordinates, from the right as well. */
void nx_page_coverage(FILE *out, const struct nx_survey *survey);
