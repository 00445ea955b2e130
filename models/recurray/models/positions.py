"""Where in a sequence a state stands, for networks that do not read it in order."""

import torch
from torch import Tensor


def sinusoids(positions: Tensor, dim: int) -> Tensor:
    """(T,) positions → (T, dim): sines and cosines of growing wavelength (Vaswani et al. 2017, section 3.5)."""
    angles_tf = _angles(positions, dim)
    return torch.cat((angles_tf.sin(), angles_tf.cos()), dim=-1)[:, :dim]


def rotate(values_bhtd: Tensor, positions: Tensor) -> Tensor:
    """Rotary embedding (Su et al. 2021): turns unit i and unit i + d/2 together by the position's angle.

    (B, heads, T, d) values, (T,) positions or (B, 1, T) for each row its own → (B, heads, T, d); products of two turned
    vectors depend on their distance.
    """
    angles_tf = _angles(positions, values_bhtd.shape[-1])
    cos_tf, sin_tf = angles_tf.cos().to(values_bhtd.dtype), angles_tf.sin().to(values_bhtd.dtype)
    first_bhtf, second_bhtf = values_bhtd.chunk(2, dim=-1)
    return torch.cat((first_bhtf * cos_tf - second_bhtf * sin_tf, second_bhtf * cos_tf + first_bhtf * sin_tf), dim=-1)


def _angles(positions: Tensor, dim: int) -> Tensor:
    """(…, T) → (…, T, ⌈dim / 2⌉), in double precision: in single, far positions could not be told apart exactly."""
    frequencies_f = 10_000 ** (-torch.arange(0, dim, 2, dtype=torch.float64, device=positions.device) / dim)
    return positions[..., None] * frequencies_f
