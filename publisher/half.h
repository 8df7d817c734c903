// Half-precision floats (IEEE 754 binary16) of published vectors: conversion to and from float, rounding to
// nearest even. The same bits with the processor's instructions (F16C) and without.
#ifndef PUBLISHER_HALF_H
#define PUBLISHER_HALF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// One number, by integer arithmetic. Beyond 65519.99 it is infinite; a NaN stays a NaN, made quiet.
uint16_t publisher_half_from_float(float value);
float publisher_half_to_float(uint16_t half);

// n numbers, by F16C where the processor has it. Neither pointer needs to be aligned; they may not overlap.
// encode returns false if a result is infinite or NaN (all n are written nevertheless).
bool publisher_half_encode(const float *values, size_t n, void *halves);
void publisher_half_decode(const void *halves, size_t n, float *values);

#endif
