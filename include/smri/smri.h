/* libsmri: residual networks for small grayscale images, trained and explained on a CPU. All public headers at once.
 *
 * A program in 60 lines: csrc/examples/train.c. Every function that can fail returns an smri_status, and smri_message() says why.
 * The library prints nothing, never exits and reads no environment. */
#ifndef SMRI_SMRI_H
#define SMRI_SMRI_H

#include "smri/activation.h"
#include "smri/augment.h"
#include "smri/batchnorm2d.h"
#include "smri/build.h"
#include "smri/cam.h"
#include "smri/comm.h"
#include "smri/conv2d.h"
#include "smri/convert.h"
#include "smri/cpu.h"
#include "smri/image.h"
#include "smri/linear.h"
#include "smri/loss.h"
#include "smri/memory.h"
#include "smri/network.h"
#include "smri/optimizer.h"
#include "smri/peak.h"
#include "smri/plan.h"
#include "smri/pool.h"
#include "smri/pooling.h"
#include "smri/precision.h"
#include "smri/registration.h"
#include "smri/resize.h"
#include "smri/rng.h"
#include "smri/schedule.h"
#include "smri/status.h"
#include "smri/trainer.h"
#include "smri/version.h"
#include "smri/workspace.h"

#endif
