/* The faults to inject, as environment variables that `Emulator.environment` sets. */
#define _GNU_SOURCE
#include "emulator.h"

#include <stdlib.h>
#include <string.h>

bool is_set(const char *variable) {
    const char *value = getenv(variable);
    return value && *value;
}

/* Whether a word is among those of a variable, which commas separate. */
static bool has_word(const char *words, const char *word) {
    const size_t length = strlen(word);
    while (words) {
        const size_t size = strcspn(words, ",");
        if (size == length && !strncmp(words, word, size)) {
            return true;
        }
        words = words[size] ? words + size + 1 : NULL;
    }
    return false;
}

/* Features: all of them where the variable is not set. */
bool has_feature(const char *name) {
    const char *wanted = getenv("HARNESS_EMULATOR_FEATURES");
    return !wanted || has_word(wanted, name);
}

/* The settings of aclprofSetConfig, by their number. */
bool is_rejected(int type) {
    char number[16];
    snprintf(number, sizeof number, "%d", type);
    return has_word(getenv("HARNESS_EMULATOR_REJECTED"), number);
}
