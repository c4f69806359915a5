/* Shared by the files of the amx method: bf16 convolution on the tile registers of AMX. */
#pragma once

#include "layers/conv2d/methods.h"

/* amx_wgrad.c */
bool smri_conv2d_amx_supports_weights(const struct smri_conv2d *shape);
struct smri_workspace_bytes smri_conv2d_amx_wgrad_bytes(const struct smri_conv2d *shape);
void smri_conv2d_amx_backward_weights(const struct smri_conv2d_call *call);
