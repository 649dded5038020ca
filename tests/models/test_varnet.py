"""The E2E-VarNet against the published code, with the same weights."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from laminar.errors import CheckpointError, ConfigError
from laminar.models.config import UnrolledConfig
from laminar.models.varnet import VarNet
from laminar.networks.normunet import NormUnet, normalized
from laminar.operators import Encoding, fft2c, ifft2c
from laminar.operators.linear import Wrapped

SIZES = {"n_cascades": 3, "channels": 3, "pools": 2, "sensitivity_channels": 2, "sensitivity_pools": 3}


@pytest.fixture(scope="module")
def published() -> Callable[..., Any]:
    """The published network with weights of a seed, data weights other than 1, in float64."""
    models = pytest.importorskip("fastmri.models", reason="the oracle; `make setup` installs it")

    def make(seed: int, cascades: int = 3, channels: int = 3, pools: int = 2) -> Any:
        torch.manual_seed(seed)
        network = models.VarNet(cascades, sens_chans=2, sens_pools=3, chans=channels, pools=pools).double()
        with torch.no_grad():
            for cascade in network.cascades:
                cascade.dc_weight.uniform_(0.3, 1.3)
        return network

    return make


def random_scan(seed: int, batch: int, coils: int, size: tuple[int, int], masks: int = 1) -> tuple[Tensor, Tensor]:
    """K-space of noise at random lines, another pattern for each of `masks`, sampled unevenly about the center."""
    generator, (height, width) = torch.Generator().manual_seed(seed), size
    lines = torch.rand(masks, width, generator=generator) < 0.3
    for index, row in enumerate(lines):
        row[width // 2 - 3 - index : width // 2 + 5] = True
    kspace = torch.randn(batch, coils, height, width, dtype=torch.complex128, generator=generator)
    return kspace * lines[:, None, None], lines[:, None].expand(-1, height, -1)


def run_published(network: nn.Module, kspace: Tensor, mask: Tensor, lines: int | None = None) -> Tensor:
    image: Tensor = network(torch.view_as_real(kspace).contiguous(), mask[:, None, :1, :, None], lines)
    return image


def relative(found: Tensor, expected: Tensor) -> float:
    return float(((found - expected).norm() / expected.norm()).detach())


def furthest(found: Tensor, expected: Tensor) -> float:
    """The largest difference in units of the largest value."""
    return float(((found - expected).abs().max() / expected.abs().max()).detach())


@pytest.mark.parametrize(
    ("batch", "coils", "size", "masks", "lines"),
    [
        (1, 1, (32, 32), 1, None),
        (2, 3, (37, 51), 2, None),
        (3, 2, (33, 47), 1, 5),
        (1, 32, (40, 35), 1, 8),
        (2, 4, (17, 64), 2, 1),
    ],
)
def test_equals_the_published_network(
    published: Callable[..., Any],
    batch: int,
    coils: int,
    size: tuple[int, int],
    masks: int,
    lines: int | None,
) -> None:
    theirs = published(seed=batch)
    kspace, mask = random_scan(coils, batch, coils, size, masks)
    expected = run_published(theirs, kspace, mask, lines).detach()
    ours = VarNet.from_fastmri(theirs.state_dict())
    assert furthest(ours(kspace, mask, lines), expected) < 1e-12
    assert furthest(ours.float()(kspace.to(torch.complex64), mask, lines), expected) < 1e-5


def test_equals_the_published_network_beyond_the_padding(published: Callable[..., Any]) -> None:
    """Five pools halve a multiple of 16 to an odd size; a full mask has no gap to count to."""
    theirs = published(seed=1, cascades=2, channels=2, pools=5)
    kspace, _ = random_scan(1, 1, 2, (112, 96))
    mask = torch.ones(1, 112, 96, dtype=torch.bool)
    found = VarNet.from_fastmri(theirs.state_dict()).double()(kspace, mask)
    assert relative(found, run_published(theirs, kspace, mask)) < 1e-12


def test_gradients_equal_the_published_ones_with_and_without_recomputing(published: Callable[..., Any]) -> None:
    theirs = published(seed=2)
    kspace, mask = random_scan(2, 2, 3, (35, 42), 2)
    target = torch.rand(2, 35, 42, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (run_published(theirs, kspace, mask) - target).abs().sum().backward()
    gradients = {name: weight.grad for name, weight in theirs.named_parameters()}
    expected = dict(VarNet.from_fastmri(gradients).named_parameters())
    for recompute, options in ((False, {}), (True, {}), (True, {"chunk_bytes": 1})):
        ours = VarNet.from_fastmri(theirs.state_dict(), **options)
        (ours(kspace, mask, recompute=recompute) - target).abs().sum().backward()
        for name, weight in ours.named_parameters():
            # the first data weight acts on nothing and has the gradient 0
            difference = (weight.grad - expected[name]).detach()  # type: ignore[operator]
            assert difference.abs().max() <= 1e-10 * expected[name].detach().abs().max(), name


def test_recomputing_keeps_no_activations() -> None:
    """Bytes that the graph holds: two images a cascade instead of all features."""
    kspace, mask = random_scan(0, 1, 2, (32, 32))

    def kept(recompute: bool) -> int:
        found: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        network = small_network()
        weights = {weight.untyped_storage().data_ptr() for weight in network.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            network(kspace, mask, recompute=recompute)
        return sum(size for address, size in found.items() if address not in weights)

    assert kept(True) < 0.2 * kept(False)


def small_network() -> VarNet:
    torch.manual_seed(0)
    return VarNet(**SIZES).double()


def test_coils_in_chunks_change_nothing() -> None:
    network = small_network()
    kspace, mask = random_scan(0, 2, 5, (20, 33))
    whole = network(kspace, mask)
    for chunk_bytes in (1, 2 * 20 * 33 * 2 * 8, 2**40):
        network.chunk_bytes = chunk_bytes
        assert relative(network(kspace, mask), whole) < 1e-12


def random_operator(mask: Tensor, coils: int) -> Encoding:
    """Sensitivities that are not those of the network."""
    maps = torch.randn(len(mask), coils, *mask.shape[1:], dtype=torch.complex128)
    return Encoding(mask, maps / torch.linalg.vector_norm(maps, dim=1, keepdim=True))


@pytest.mark.parametrize("turned", [False, True])
def test_trajectory_is_the_image_of_every_k_space_in_the_gauge_of_the_operator(turned: bool) -> None:
    """The cascades carried out in k-space, as they are published; lines along x are the same problem, turned."""
    network = small_network()
    kspace, mask = random_scan(3, 2, 4, (24, 29), 2)
    operator = random_operator(mask, 4)
    gauge = operator.sensitivities
    with torch.no_grad():
        network.data_weights[1].fill_(0.4)
        if turned:
            operator = Encoding(mask.mT, gauge.mT)
        trajectory = network.trajectory(kspace.mT if turned else kspace, operator)
        states, endpoints = ([x.mT if turned else x for x in xs] for xs in (trajectory.states, trajectory.endpoints))
        maps, k = network.sensitivities(kspace, mask), kspace
        assert relative(maps.abs().square().sum(1), torch.ones(2, 24, 29, dtype=torch.float64)) < 1e-12
        for state, endpoint, regularizer, weight in zip(
            states[:-1], endpoints, network.cascades, network.data_weights, strict=True
        ):
            update = fft2c(maps * regularizer((maps.conj() * ifft2c(k)).sum(1))[:, None])
            assert relative(state, (gauge.conj() * ifft2c(k)).sum(1)) < 1e-12
            assert relative(endpoint, (gauge.conj() * ifft2c(k - update)).sum(1)) < 1e-12
            k = k - weight * mask[:, None] * (k - kspace) - update
        assert relative(states[-1], (gauge.conj() * ifft2c(k)).sum(1)) < 1e-12
        squares = torch.linalg.vector_norm(ifft2c(k), dim=1)
        assert relative(network(kspace, mask), squares) < 1e-12
        network.config = replace(network.config, root_sum_of_squares=True)
        whole = network.trajectory(kspace.mT if turned else kspace, operator)
        assert relative(whole.image.mT if turned else whole.image, torch.polar(squares, states[-1].angle())) < 1e-12
        assert torch.equal(whole.states[-1], trajectory.image)
    assert (trajectory.nfe, trajectory.times) == (3, None)


def test_gradient_of_the_trajectory_is_exact() -> None:
    """With respect to data and sensitivities of the operator, through the learned ones, against finite differences."""
    network = small_network()
    kspace, mask = random_scan(4, 1, 2, (18, 20))
    gauge = random_operator(mask, 2).sensitivities

    def loss(kspace: Tensor, gauge: Tensor) -> Tensor:
        trajectory = network.trajectory(kspace * mask, Encoding(mask, gauge))
        return sum(
            (x.abs().square().mean() for x in trajectory.states + trajectory.endpoints), kspace.real.new_zeros(())
        )

    inputs = (kspace.requires_grad_(), gauge.requires_grad_())
    assert torch.autograd.gradcheck(loss, inputs, fast_mode=True, atol=1e-8)


@pytest.mark.parametrize("silent", ["scan", "coil"])
def test_no_signal_is_no_trouble(silent: str) -> None:
    """An empty slice, or a coil that received nothing: finite images and gradients, and zeros stay zeros."""
    network = small_network()
    kspace, mask = random_scan(0, 2, 3, (20, 24))
    mask = mask.expand(2, -1, -1)
    kspace[0] *= 0 if silent == "scan" else torch.tensor([1, 1, 0])[:, None, None]
    image, trajectory = network(kspace, mask), network.trajectory(kspace, random_operator(mask, 3))
    (image.sum() + trajectory.image.abs().sum()).backward()
    assert bool(image.isfinite().all())
    assert all(bool(torch.isfinite(weight.grad).all()) for weight in network.parameters() if weight.grad is not None)
    if silent == "scan":
        assert image[0].detach().abs().max() < 1e-150
        assert not trajectory.image[0].any()


def test_gradient_of_k_space_is_exact() -> None:
    """Through maps and images at once, against finite differences."""
    network = small_network()
    kspace, mask = random_scan(4, 1, 2, (18, 20))
    assert torch.autograd.gradcheck(
        lambda k: network(k * mask, mask).square().mean(), kspace.requires_grad_(), fast_mode=True, atol=1e-8
    )


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_normalized_equals_its_parts(memory_format: torch.memory_format) -> None:
    features = torch.randn(2, 3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    features = (3 * features + 1).contiguous(memory_format=memory_format).requires_grad_()
    expected = nn.functional.leaky_relu(nn.functional.instance_norm(features), 0.2)
    assert torch.allclose(normalized(features.clone()), expected, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(lambda f: normalized(f.clone()), features)


def test_normunet_follows_scale_and_offset() -> None:
    """It works on the normalized image: `R(a x + b) = a R(x) + b`."""
    torch.manual_seed(0)
    network = NormUnet(3, 2).double()
    x = torch.randn(2, 21, 30, dtype=torch.complex128)
    assert relative(network(7.0 * x + (2 - 3j)), 7.0 * network(x) + (2 - 3j)) < 1e-12


def test_strange_weights_are_refused(published: Callable[..., Any]) -> None:
    state = published(seed=0).state_dict()
    with pytest.raises(CheckpointError, match=re.escape("cascades.0.model.unet.down_sample_layers.0")):
        VarNet.from_fastmri({})
    with pytest.raises(CheckpointError, match=re.escape("'cascades.1.model.unet.conv.layers.4.weight' is missing")):
        VarNet.from_fastmri(
            {name: w for name, w in state.items() if name != "cascades.1.model.unet.conv.layers.4.weight"}
        )
    with pytest.raises(CheckpointError, match="'more' is missing or unexpected"):
        VarNet.from_fastmri(state | {"more": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=re.escape("'cascades.2.dc_weight' should be (1,); got (2,)")):
        VarNet.from_fastmri(state | {"cascades.2.dc_weight": torch.zeros(2)})


def test_input_that_does_not_fit_is_refused() -> None:
    network = small_network()
    kspace, mask = random_scan(0, 2, 2, (20, 24))
    with pytest.raises(ConfigError, match=re.escape("(batch, coil, y, x); got torch.float64 (2, 2, 20, 24)")):
        network(kspace.real, mask)
    with pytest.raises(ConfigError, match=re.escape("bool mask (batch or 1, y, x) for (2, 2, 20, 24)")):
        network(kspace, mask[..., 1:])
    with pytest.raises(ConfigError, match="varies along y"):
        network(kspace, torch.eye(20, 24, dtype=torch.bool)[None])
    with pytest.raises(ConfigError, match="1 to 24 calibration lines or None; got 25"):
        network(kspace, mask, 25)
    with pytest.raises(ConfigError, match="varies along y"):
        network.trajectory(kspace, random_operator(torch.eye(20, 24, dtype=torch.bool)[None], 2))
    with pytest.raises(ConfigError, match="an Encoding, with mask and sensitivities; got Wrapped"):
        network.trajectory(kspace, Wrapped(network, network))
    with pytest.raises(ConfigError, match="takes no other source"):
        network.trajectory(kspace, random_operator(mask, 2), source=kspace[:, 0])
    with pytest.raises(ConfigError, match="n_cascades must be a whole number from 1 to 1000; got 0"):
        VarNet(n_cascades=0)
    with pytest.raises(ConfigError, match="expected a VarNetConfig; got UnrolledConfig"):
        VarNet(UnrolledConfig())  # type: ignore[arg-type]
