"""Laws of every built-in regularizer."""

import pytest
import torch
from torch import Tensor, nn

from laminar.networks import CNN, UNet


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
    "cnn": lambda: CNN(6, 3),
    "cnn, time": lambda: CNN(6, 3, time_embedding=True),
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
    torch.testing.assert_close(network(250.0 * x, time), 250.0 * result)


@pytest.mark.parametrize("name", NETWORKS)
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
