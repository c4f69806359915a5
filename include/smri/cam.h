/* Class activation maps: what a stage's activations A[h][w][C], and the gradient dA of one score by them, say about where the
 * evidence lies. All maps are cut at zero. With sums over places p and channels c:
 *
 *     Grad-CAM     relu(sum_c w_c A_pc),  w_c = mean_p dA_pc             Selvaraju et al., ICCV 2017
 *     Grad-CAM++   the same with w_c = sum_p a_pc relu(dA_pc),           Chattopadhay et al., WACV 2018, equation 19
 *                  a = dA^2 / (2 dA^2 + dA^3 sum_p A_pc), 0 where dA = 0: the closed form for an exponential output
 *     HiResCAM     relu(sum_c dA_pc A_pc)                                Draelos and Carin, arXiv 2011.08891, 2020
 *     LayerCAM     relu(sum_c relu(dA_pc) A_pc)                          Jiang et al., IEEE TIP 2021
 *     Eigen-CAM    relu(A v), v the first right singular vector of A     Muhammad and Yeasin, IJCNN 2020
 *                  as a (h w) x C matrix, its sign such that the map's sum is not negative; dA is not used */
#ifndef SMRI_CAM_H
#define SMRI_CAM_H

#include <stdbool.h>
#include <stddef.h>

#include "smri/api.h"
#include "smri/pool.h"
#include "smri/status.h"

SMRI_API_BEGIN

enum smri_cam_method {
    SMRI_CAM_GRAD,
    SMRI_CAM_GRAD_PLUS_PLUS,
    SMRI_CAM_HIRES,
    SMRI_CAM_LAYER,
    SMRI_CAM_EIGEN,
    SMRI_CAM_COUNT
};

/* "gradcam", "gradcam++", "hirescam", "layercam", "eigencam"; SMRI_ARGUMENT for another name. */
const char *smri_cam_name(enum smri_cam_method method);
smri_status smri_cam_parse(enum smri_cam_method *out, const char *name);

struct smri_cam {
    size_t N, H, W, C; /* images, rows and columns of the stage, channels */
    enum smri_cam_method method;
    bool normalise; /* each map is shifted and scaled to [0, 1]; a constant map becomes 0 */
};

/* SMRI_MEMORY when the size overflows. */
smri_status smri_cam_workspace_bytes(size_t *bytes, const struct smri_cam *shape, size_t n_threads);

/* map[N][H][W], overwritten. A and dA are [N][H][W][C]; dA may be NULL for Eigen-CAM. */
void smri_cam_map(float *map, const float *A, const float *dA, const struct smri_cam *shape, void *workspace,
                  smri_pool *pool);

/* Bilinear enlargement of in[N][h][w] to out[N][H][W] with half-pixel centres and clamped borders, as
 * torch.nn.functional.interpolate(mode="bilinear", align_corners=False) does. */
void smri_upsample_bilinear(float *out, const float *in, size_t N, size_t h, size_t w, size_t H, size_t W, smri_pool *pool);

SMRI_API_END

#endif
