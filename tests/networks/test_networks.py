"""Laws of every built-in regularizer."""

import pytest
import torch
from torch import Tensor, nn

from laminar.networks import CNN, ISTA, NormUnet, UNet


def awake(network: nn.Module) -> nn.Module:
    """The network in double precision with random last convolutions: they start at zero."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    return network.double()


NETWORKS = {
    "unet": lambda: UNet([4, 6, 8]),
    "unet, unfolded": lambda: UNet([4, 6], fold=1),
    "unet, time": lambda: UNet([4, 6, 8], time_embedding=True),
    "unet, circular": lambda: UNet([4, 6, 8], padding="circular"),
    "cnn": lambda: CNN(6, 3),
    "cnn, time": lambda: CNN(6, 3, time_embedding=True),
    "ista": lambda: ISTA(6),
    "normunet": lambda: NormUnet(3, 2),
}


def image(y: int, x: int) -> Tensor:
    return torch.randn(2, y, x, dtype=torch.complex128, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", [(16, 16), (13, 10), (1, 7)])
def test_any_size_and_homogeneous(name: str, shape: tuple[int, int]) -> None:
    network, time = awake(NETWORKS[name]()), torch.tensor([0.3, 0.9], dtype=torch.float64)
    x = image(*shape)
    result = network(x, time)
    assert result.shape == x.shape
    assert result.is_complex()
    if isinstance(network, ISTA):  # its threshold has the unit of the image
        network.threshold.data *= 250.0
    torch.testing.assert_close(network(250.0 * x, time), 250.0 * result)


def test_circular_images_go_on_at_the_other_side() -> None:
    network, time = awake(UNet([4, 6, 8], padding="circular")), torch.ones(2, dtype=torch.float64)
    x, shift = image(16, 24), (8, -16)
    torch.testing.assert_close(network(x.roll(shift, (1, 2)), time), network(x, time).roll(shift, (1, 2)))


def test_ista_thresholds_its_transform() -> None:
    """No threshold is the plain chain of transforms, a large one stops everything; H~ = H^-1 = 1 has no asymmetry."""
    network, x = awake(ISTA(6)), image(8, 9)
    network.threshold.data.fill_(0.0)
    open_ = network(x)
    network.threshold.data.fill_(1e9)
    assert open_.abs().max() > 1e-3
    assert not network(x).any()
    assert network.asymmetry(x) > 1e-3
    network.analysis.weight.data.abs_()
    for transform in (network.forth, network.back):
        for convolution in (transform.first, transform.second):
            nn.init.dirac_(convolution.weight)
    positive = torch.complex(x.real.abs(), x.imag.abs())
    assert network.asymmetry(positive) == 0


@pytest.mark.parametrize("part", ["both", "imaginary"])
def test_normunet_returns_a_constant_part_as_it_is(part: str) -> None:
    """Where there is nothing to normalize, neither the image nor a gradient turns to NaN."""
    network, x = awake(NormUnet(3, 2)), image(16, 16)
    x = torch.full_like(x, 2 - 3j) if part == "both" else torch.complex(x.real, torch.full_like(x.real, -3))
    result = network(x.requires_grad_())
    result.abs().square().sum().backward()
    torch.testing.assert_close(result.imag, x.imag, rtol=1e-12, atol=0)
    assert result.real.isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "normunet"])
def test_an_untrained_network_changes_nothing(name: str) -> None:
    assert not NETWORKS[name]()(image(8, 8).to(torch.complex64), torch.ones(2)).any()


@pytest.mark.parametrize("name", ["unet, time", "cnn, time"])
def test_time_matters_where_it_is_embedded(name: str) -> None:
    network, x = awake(NETWORKS[name]()), image(8, 8)
    early, late = (network(x, torch.full((2,), t, dtype=torch.float64)) for t in (1.0, 0.25))
    assert not torch.allclose(early, late)


def test_half_precision_gives_complex_float() -> None:
    network = UNet([4, 6])
    with torch.autocast("cpu", torch.bfloat16):
        assert network(image(8, 8).to(torch.complex64), torch.ones(2)).dtype == torch.complex64
