/* How many operators of a capture were computed, and which ones were not. */
#define _GNU_SOURCE
#include "emulator.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_NAMES = 1024 }; /* the wheel has fewer operators */

static struct {
    char *name;
    unsigned long long count;
} missing[MAX_NAMES];
static int names;
static unsigned long long computed, not_computed;

void reset_tally(void) {
    while (names) {
        free(missing[--names].name);
    }
    computed = not_computed = 0;
}

static int place_of(const char *name) {
    for (int i = 0; i < names; i++) {
        if (!strcmp(missing[i].name, name)) {
            return i;
        }
    }
    if (names == MAX_NAMES) {
        return -1;
    }
    missing[names].name = strdup(name); /* the older operators' names are the caller's */
    missing[names].count = 0;
    return names++;
}

void count_launch(const char *name, bool is_computed) {
    if (is_computed) {
        computed++;
        return;
    }
    not_computed++;
    const int place = place_of(name);
    if (place >= 0) {
        missing[place].count++;
    }
}

void put_tally(FILE *out) {
    fprintf(out, "{\"emulated\":true,\"operators_computed\":%llu,", computed);
    fprintf(out, "\"operators_not_computed\":%llu,\"not_computed\":{", not_computed);
    for (int i = 0; i < names; i++) {
        fputs(i ? "," : "", out);
        put_text(out, missing[i].name);
        fprintf(out, ":%llu", missing[i].count);
    }
    fputs("}}\n", out);
}
