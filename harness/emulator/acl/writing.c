/* Texts and tensors as JSON. */
#include "emulator.h"

void put_text(FILE *out, const char *text) {
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') {
            fputc('\\', out);
        }
        if ((unsigned char)*text < ' ') {
            fprintf(out, "\\u%04x", *text);
        } else {
            fputc(*text, out);
        }
    }
    fputc('"', out);
}

const char *dtype_name(int dtype) {
    static const char *names[] = {"FLOAT", "FLOAT16", "INT8", "INT32", "UINT8", "UNDEFINED",
                                  "INT16", "UINT16", "UINT32", "INT64", "UINT64", "DOUBLE",
                                  "BOOL", "STRING", "UNDEFINED", "UNDEFINED", "COMPLEX64",
                                  "COMPLEX128"};
    const int known = sizeof names / sizeof *names;
    return dtype == BFLOAT16 ? "DT_BF16" : dtype >= 0 && dtype < known ? names[dtype] : "UNDEFINED";
}

static const char *format_name(int format) {
    switch (format) {
    case 0: return "NCHW";
    case 1: return "NHWC";
    case 3: return "NC1HWC0";
    case 29: return "FRACTAL_NZ";
    case 30: return "NCDHW";
    case 47: return "NCL";
    default: return "ND";
    }
}

int64_t put_tensors(FILE *out, const Launch *launch, int from, int to) {
    int64_t bytes = 0;
    for (int i = from; i < to; i++) {
        const Tensor *tensor = launch->tensors[i];
        fprintf(out, "%s{\"shape\":[", i > from ? "," : "");
        for (int dim = 0; dim < tensor->dims; dim++) {
            fprintf(out, "%s%lld", dim ? "," : "", (long long)tensor->shape[dim]);
        }
        fprintf(out, "],\"dtype\":\"%s\",\"format\":\"%s\"}", dtype_name(tensor->dtype),
                format_name(tensor->format));
        bytes += element_count(tensor) * (int64_t)element_size(tensor->dtype);
    }
    return bytes;
}
