"""Signs that k-space is not what a scanner measured: the "data crimes" of doi:10.1073/pnas.2117203119, and broken data.

Training and testing on k-space that was computed from processed images gives numbers that no scan will show.
"""

from __future__ import annotations

import math
from itertools import product

import torch
from torch import Tensor

from laminar.data.formats import padding_note, partial_note
from laminar.data.noise import estimate_noise_std
from laminar.operators import ifft2c

_HERMITIAN = 1e-3
_QUIET = 1e-5  # measured scans have 1e-4 and more of their strongest sample
_LOW_PASS = 0.3
_CENTER, _COILS = 24, 4
_DEAD = 1e-6
_SMALLEST = 64  # smaller images hold too little air


def suspicions(kspace: Tensor, mask: Tensor, noise_std: float) -> dict[str, str]:
    """What is odd about one slice, by kind, each in a sentence; empty for a sound one.

    Kinds: not-finite, empty, dead-coil, off-center, zero-padded, partial, hermitian, noise-free, low-pass.
    Shapes: `kspace` complex (coil, y, x), zero frequency at n // 2; `mask` bool (y, x) of acquired samples. `noise_std`
    per complex sample.
    """
    energy = energy_of(kspace)
    if not bool(energy.isfinite().all()):
        return {"not-finite": "k-space holds NaN or Inf"}
    if not bool(energy.any()):
        return {"empty": "k-space is zero everywhere"}
    strong = kspace[energy.argsort(descending=True)[:2]]  # all would take several times as long
    found = {
        "dead-coil": _dead_coil(energy),
        "off-center": _off_center(strong),
        "zero-padded": f"{padded}: its images are interpolated" if (padded := padding_note(mask)) else None,
        "partial": partial_note(mask),
        "hermitian": _hermitian(strong, mask),
        "noise-free": "there is no noise: simulated, or denoised"
        if noise_std < _QUIET * float(strong.abs().max())
        else None,
    }
    if bool(mask.all()):
        found["low-pass"] = _low_pass(strong)
    return {kind: said for kind, said in found.items() if said}


def energy_of(kspace: Tensor) -> Tensor:
    """The energy of every coil, (coil,); not finite if any sample is."""
    return torch.view_as_real(kspace).flatten(1).square().sum(1)


def _dead_coil(energy: Tensor) -> str | None:
    dead = (energy <= _DEAD * energy[energy > 0].median()).nonzero().flatten().tolist()
    return f"coil {', '.join(map(str, dead))} of {len(energy)} has no signal" if dead else None


def _off_center(kspace: Tensor) -> str | None:
    power = kspace.abs().square().sum(0)
    peak = divmod(int(power.argmax()), power.shape[1])
    center = tuple(n // 2 for n in power.shape)
    if all(abs(p - c) <= max(n / 8, 2) for p, c, n in zip(peak, center, power.shape, strict=True)):
        return None
    return f"the strongest sample is at {peak}, not near the zero frequency {center}"


def _hermitian(kspace: Tensor, mask: Tensor) -> str | None:
    """Whether `k(-f) = c conj(k(f))` with one phase c a coil: then the image is real, and was a magnitude."""
    both = mask & _mirrored(mask)
    here, there = kspace * both, _mirrored(kspace * both)
    energy = here.abs().square().sum((1, 2))
    if not bool(energy.any()):  # no sample has its mirror image beside it
        return None
    loud = energy > _DEAD * energy.max()
    alike = (here * there).sum((1, 2)).abs()[loud] / energy[loud]
    if bool((1 - alike < _HERMITIAN).all()):
        return "k-space is Hermitian: the images have one phase, as k-space computed from magnitude images has"
    return None


def _mirrored(x: Tensor) -> Tensor:
    """The value at frequency -f."""
    shifts = [1 if n % 2 == 0 else 0 for n in x.shape[-2:]]
    return x.flip(-2, -1).roll(shifts, (-2, -1))


def noise_level(kspace: Tensor, mask: Tensor) -> float:
    """The noise level of a slice (coil, y, x), in a tenth of the time that all of it takes.

    Patches of four coils at the center have a low rank but for the noise. Of fewer coils all samples are looked at.
    """
    if len(kspace) >= _COILS:
        kspace = kspace[energy_of(kspace).argsort(descending=True)[:_COILS]]
        y, x = (slice(max(n // 2 - _CENTER, 0), n // 2 + _CENTER) for n in mask.shape)
        if bool(mask[y, x].any()):
            kspace, mask = kspace[:, y, x], mask[y, x]
    return estimate_noise_std(kspace[None], mask)


def _low_pass(kspace: Tensor) -> str | None:
    """Noise of the air has one density at all frequencies, unless the image was filtered or interpolated.

    Air is looked for in eight places at the rim of the image. Where there is signal, too,
    it adds power at middle frequencies: the place that shows the most at high ones counts.
    """
    if min(kspace.shape[1:]) < _SMALLEST:
        return None
    image = ifft2c(kspace)
    sizes = [max(16, n // 8) for n in image.shape[1:]]
    window = torch.hann_window(sizes[0])[:, None] * torch.hann_window(sizes[1])
    places = [[0, (n - size) // 2, n - size] for n, size in zip(image.shape[1:], sizes, strict=True)]
    weak = {"y": 0.0, "x": 0.0}
    for top, left in product(*places):
        if (top, left) != (places[0][1], places[1][1]):
            air = image[:, top : top + sizes[0], left : left + sizes[1]] * window
            power = torch.fft.fftshift(torch.fft.fft2(air), (1, 2)).abs().square().sum(0)
            weak = {"y": max(weak["y"], _high_to_middle(power)), "x": max(weak["x"], _high_to_middle(power.mT))}
    said = [f"{ratio:.2f} along {axis}" for axis, ratio in weak.items() if ratio < _LOW_PASS]
    if not said:
        return None
    return f"noise at high frequencies has {' and '.join(said)} of the power at middle ones: filtered or interpolated"


def _high_to_middle(power: Tensor) -> float:
    """The power (frequency, other) at the highest quarter of frequencies over that at middle ones."""
    f, other = (2 * (torch.arange(n, device=power.device) - n // 2).abs() / n for n in power.shape)
    profile = power[:, (other > 0.1) & (other < 0.5)].mean(1)
    middle = float(profile[(f > 0.3) & (f < 0.6)].mean())
    return float(profile[f > 0.75].mean()) / middle if middle > 0 else math.inf
