"""Laws of the wavelet transform and of the differences."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from laminar.classical.sparsity import Differences
from laminar.classical.wavelet import MOMENTS, Wavelet, low_pass
from laminar.errors import ConfigError
from laminar.operators import LinearOperator, spectral_norm

TOLERANCE = 1e-12


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def check_adjoint(operator: LinearOperator, x: Tensor) -> None:
    y = draw(*operator.forward(x).shape, seed=3)
    left = torch.vdot(y.flatten(), operator.forward(x).flatten())
    right = torch.vdot(operator.adjoint(y).flatten(), x.flatten())
    assert abs(left - right) <= TOLERANCE * (1 + abs(left))


@pytest.mark.parametrize("filter", MOMENTS)
def test_filters_are_orthonormal_with_all_their_vanishing_moments(filter: str) -> None:
    low = torch.tensor(low_pass(MOMENTS[filter]), dtype=torch.float64)
    for shift in range(len(low) // 2):
        product = float((low[2 * shift :] * low[: len(low) - 2 * shift]).sum())
        assert product == pytest.approx(float(shift == 0), abs=TOLERANCE)
    high = low.flip(0) * torch.tensor([(-1) ** k for k in range(len(low))])
    for moment in range(len(low) // 2):
        assert float((high * torch.arange(len(low)) ** moment).sum()) == pytest.approx(0, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(MOMENTS)), st.integers(1, 40), st.integers(1, 40), st.sampled_from([None, 1, 2, 4]))
def test_parseval_frame_of_any_size(filter: str, height: int, width: int, levels: int | None) -> None:
    wavelet, x = Wavelet((height, width), filter, levels), draw(2, height, width)
    torch.testing.assert_close(wavelet.adjoint(wavelet.forward(x)), x, rtol=0, atol=TOLERANCE)
    assert abs(wavelet.forward(x).norm() - x.norm()) <= TOLERANCE * x.norm()
    check_adjoint(wavelet, x)


@pytest.mark.parametrize("filter", MOMENTS)
def test_unitary_matrix_on_a_divisible_grid(filter: str) -> None:
    wavelet = Wavelet((8, 12), filter, 2)
    columns = wavelet.forward(torch.eye(96, dtype=torch.complex128).reshape(96, 8, 12)).flatten(1)
    torch.testing.assert_close(columns @ columns.mH, torch.eye(96, dtype=torch.complex128), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("filter", "degree"), [("haar", 0), ("db2", 1), ("db4", 3)])
def test_polynomials_have_no_fine_coefficients(filter: str, degree: int) -> None:
    """Away from the seam of the period; one degree more is seen."""
    inside = slice(0, 16 - MOMENTS[filter])

    def fine(power: int) -> Tensor:
        ramp = (torch.arange(32, dtype=torch.float64) / 32) ** power
        return Wavelet((32, 32), filter, 1).forward(ramp.expand(1, 32, 32).to(torch.complex128))[..., :16, 16:][
            ..., inside
        ]

    assert float(fine(degree).abs().max()) < 1e-11
    assert float(fine(degree + 1).abs().max()) > 1e-6


def test_levels_follow_the_matrix_and_nonsense_is_refused() -> None:
    assert [Wavelet((n, 200)).levels for n in (8, 16, 31, 32, 64, 128)] == [1, 1, 1, 2, 3, 4]
    assert Wavelet((30, 33), "haar", 3).padded == (32, 40)
    for arguments in (((8, 8), "db3"), ((0, 8),), ((8,),), ((8, 8), "haar", 0)):
        with pytest.raises(ConfigError):
            Wavelet(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(("height", "width"), [(8, 6), (7, 9), (1, 5)])
def test_differences_are_adjoint_to_minus_the_divergence(height: int, width: int) -> None:
    x = draw(2, height, width)
    check_adjoint(Differences(), x)
    assert bool((spectral_norm(Differences(), x) <= 8**0.5 + 1e-9).all())
    by_hand = x[0, 0, 2] - x[0, 0, 1]
    assert abs(Differences().forward(x)[0, 1, 0, 2] - by_hand) == 0
    assert float(Differences().forward(torch.ones_like(x)).abs().max()) == 0
