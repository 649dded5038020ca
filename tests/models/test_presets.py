"""Every preset against the definition in its source, written out, and what all of them can do."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laminar.errors import ConfigError
from laminar.models import PriorConfig, UnrolledNetwork, preset
from laminar.models.config import RegularizerConfig, Settings, UnrolledConfig, VarNetConfig
from laminar.models.presets import ModelConfig
from laminar.models.varnet import VarNet
from laminar.operators import Encoding, fft2c, ifft2c
from laminar.registry import PRESETS
from laminar.theory import matrix_of
from laminar.training.objectives import ObjectiveConfig, objective
from laminar.training.reconstruction import symmetry

SHAPE = (12, 16)
NETWORKS = [name for name in PRESETS if isinstance(preset(name), UnrolledConfig | VarNetConfig)]


def tiny(name: str, **changes: object) -> ModelConfig:
    """The preset with narrow networks and few cascades, all else as it is."""
    config = preset(name)
    if isinstance(config, VarNetConfig):
        return config.changed(n_cascades=3, channels=3, pools=2, sensitivity_channels=2, sensitivity_pools=2)
    regularizer, few = config.regularizer, min(3, config.n_cascades)
    narrow = {"normunet": [3, 6, 12], "unet": [4, 6]}.get(regularizer.kind, [5])
    return config.changed(**{"n_cascades": few, "regularizer": replace(regularizer, channels=narrow), **changes})


def network_of(config: ModelConfig) -> UnrolledNetwork | VarNet:
    """In float64 with weights and coefficients that are not those of the start."""
    torch.manual_seed(0)
    network = VarNet(config) if isinstance(config, VarNetConfig) else UnrolledNetwork(config=config)
    for name, parameter in network.named_parameters():
        if parameter.ndim == 4:
            nn.init.normal_(parameter, std=0.2)
        elif parameter.requires_grad and "log_prior_std" not in name:
            parameter.data.add_(0.2 * torch.rand_like(parameter))
    return network.double()


def problem(coils: int = 3, batch: int = 2) -> tuple[Tensor, Encoding]:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(batch, coils, *SHAPE, dtype=torch.complex128, generator=generator)
    maps = maps / torch.linalg.vector_norm(maps, dim=1, keepdim=True)
    lines = torch.rand(batch, 1, SHAPE[1], generator=generator) < 0.4
    lines[..., 6:10] = True
    operator = Encoding(lines.expand(batch, *SHAPE), torch.ones_like(maps) if coils == 1 else maps)
    return operator.forward(torch.randn(batch, *SHAPE, dtype=torch.complex128, generator=generator)), operator


def denoise(network: UnrolledNetwork, k: int, x: Tensor) -> Tensor:
    """`x - R_k(x)`; no time goes in where none may come out."""
    image: Tensor = x - network.regularizers[k](x, torch.full((len(x),), torch.nan, dtype=torch.float64))
    return image


def assert_follows(states: list[Tensor], expected: list[Tensor]) -> None:
    for found, wanted in zip(states, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@torch.no_grad()
def test_modl() -> None:
    """(A^H A + lam I)^(-1) (A^H y + lam D(x)) from A^H y, with one D and one lam, solved densely. arXiv 1712.02862."""
    y, operator = problem(batch=1)
    network = network_of(tiny("modl", cg_iterations=400, cg_tolerance=1e-15))
    (weight,) = network.coefficients.data.exp()
    matrix = matrix_of(operator.forward, SHAPE)
    gram, back_projection = matrix.mH @ matrix, matrix.mH @ y.flatten()
    states = [back_projection.view(1, *SHAPE)]
    for _ in range(3):
        right = back_projection + weight * denoise(network, 0, states[-1]).flatten()
        solution = torch.linalg.solve(gram + weight * torch.eye(len(gram), dtype=gram.dtype), right)
        states.append(solution.view(1, *SHAPE))
    assert_follows(network.trajectory(y, operator).states, states)
    assert preset("modl").cg_iterations == 10


@torch.no_grad()
@pytest.mark.parametrize("name", ["dc-cnn", "dc-cnn-soft"])
@pytest.mark.parametrize("coils", [1, 3])
def test_cascade_of_cnns_with_replacement(name: str, coils: int) -> None:
    """z = x + CNN_k(x); its k-space becomes y, or (k + v y) / (1 + v), where sampled. arXiv 1704.02422, section III.

    That is for one coil; the k-space of several is replaced coil by coil, and their images combined.
    """
    y, operator = problem(coils)
    network, maps = network_of(tiny(name)), operator.sensitivities
    sampled, x, states = operator.mask[:, None].expand_as(y), operator.adjoint(y), [operator.adjoint(y)]
    for k in range(3):
        kspace = fft2c(maps * denoise(network, k, x)[:, None])
        if name == "dc-cnn":
            kspace[sampled] = y[sampled]
        else:
            v = torch.exp(-network.coefficients.data[k])
            kspace[sampled] = (kspace[sampled] + v * y[sampled]) / (1 + v)
        x = (maps.conj() * ifft2c(kspace)).sum(1)
        states.append(x)
    assert_follows(network.trajectory(y, operator).states, states)


def test_the_published_cnn() -> None:
    """D5C5: 5 cascades, each of 5 convolutions with 64 features. arXiv 1704.02422, section IV."""
    network = UnrolledNetwork(config=preset("dc-cnn"))
    for regularizer in network.regularizers:
        layers = [layer for layer in regularizer.modules() if isinstance(layer, nn.Conv2d)]
        assert [(c.in_channels, c.out_channels) for c in layers] == [(2, 64), (64, 64), (64, 64), (64, 64), (64, 2)]
    assert len(network.regularizers) == 5


@torch.no_grad()
def test_ista_net_plus() -> None:
    """r = x - rho A^H (A x - y), x = r + G(H~(soft(H(D r), theta))), and its symmetry. arXiv 1706.07929."""
    y, operator = problem()
    network = network_of(tiny("ista-net-plus"))
    x, states, asymmetries = operator.adjoint(y), [operator.adjoint(y)], []
    for k, regularizer in enumerate(network.regularizers):
        weights = dict(regularizer.named_parameters())
        conv = lambda x, name, weights=weights: F.conv2d(x, weights[f"{name}.weight"], padding=1)  # noqa: E731
        r = x - network.coefficients.data[k] * operator.adjoint(operator.forward(x) - y)
        features = conv(torch.stack([r.real, r.imag], 1), "analysis")
        transformed = conv(conv(features, "forth.first").relu(), "forth.second")
        small = F.softshrink(transformed, float(weights["threshold"]))
        assert 0.01 < float((small == 0).double().mean()) < 0.99  # the threshold acts, and not on everything
        real, imaginary = conv(conv(conv(small, "back.first").relu(), "back.second"), "synthesis").unbind(1)
        x = r + torch.complex(real, imaginary)
        states.append(x)
        asymmetries.append((conv(conv(transformed, "back.first").relu(), "back.second") - features).square().mean())
    trajectory = network.trajectory(y, operator)
    assert_follows(trajectory.states, states)
    found = symmetry(network, network.measure(y, operator), trajectory)
    torch.testing.assert_close(found, torch.stack(asymmetries).mean(), rtol=1e-12, atol=0)


def test_the_start_of_ista_net_plus() -> None:
    """9 phases of 32 features, rho = 0.5 and theta = 0.01, as in the published code; only G starts at zero."""
    network = UnrolledNetwork(config=preset("ista-net-plus"))
    assert network.coefficients.data.tolist() == [0.5] * 9
    assert [round(float(r.threshold.detach()), 9) for r in network.regularizers] == [0.01] * 9
    assert {r.analysis.out_channels for r in network.regularizers} == {32}
    y, operator = problem()
    trajectory = network.double().trajectory(y, operator)
    distances = [(operator.forward(x) - y).abs().square().sum().detach() for x in trajectory.states]
    assert all(after < before for before, after in pairwise(distances))


@torch.no_grad()
def test_unet() -> None:
    """One U-Net on the zero-filled image, and no data afterwards. arXiv 1811.08839."""
    y, operator = problem()
    network = network_of(tiny("unet"))
    zero_filled = operator.adjoint(y)
    assert_follows(network.trajectory(y, operator).states, [zero_filled, denoise(network, 0, zero_filled)])
    assert UnrolledNetwork(config=preset("unet")).regularizers[0].down[0].first.out_channels == 32


@torch.no_grad()
def test_varnet_in_the_image_domain() -> None:
    """x - eta A^H (A x - y) - lam R(x): the row of arXiv 2004.06688 for images."""
    y, operator = problem()
    network = network_of(tiny("varnet"))
    states = [operator.adjoint(y)]
    for k, (lam, eta) in enumerate(zip(network.coefficients.steps, network.coefficients.data, strict=True)):
        x = states[-1]
        states.append(x - eta * operator.adjoint(operator.forward(x) - y) - lam * (x - denoise(network, k, x)))
    assert_follows(network.trajectory(y, operator).states, states)


@torch.no_grad()
def test_e2e_varnet() -> None:
    """k - eta M (k - y) - F E(R(L^H F^-1 k)) in k-space with learned sensitivities L; shown with those of the operator.

    arXiv 2004.06688, equation 7; against the published code itself in test_varnet.py.
    """
    y, operator = problem()
    network = network_of(tiny("e2e-varnet"))
    learned, gauge, k = network.sensitivities(y, operator.mask), operator.sensitivities, y
    states = [operator.adjoint(y)]
    for regularizer, eta in zip(network.cascades, network.data_weights, strict=True):
        image = (learned.conj() * ifft2c(k)).sum(1)
        k = k - eta * operator.mask[:, None] * (k - y) - fft2c(learned * regularizer(image)[:, None])
        states.append((gauge.conj() * ifft2c(k)).sum(1))
    assert_follows(network.trajectory(y, operator).states, states)
    sizes = {"n_cascades": 12, "channels": 18, "pools": 4, "sensitivity_channels": 8, "sensitivity_pools": 4}
    assert preset("e2e-varnet") == VarNetConfig(**sizes)


@torch.no_grad()
def test_flat() -> None:
    """x <- (1 - h) x + h x0_hat, x0_hat = (A^H A + w)^(-1) (A^H y + w D(x)), from a CG-SENSE image, solved densely."""
    y, operator = problem(batch=1)
    exact = {"cg_iterations": 400, "source_iterations": 400, "cg_tolerance": 1e-15}
    network, sigma = network_of(tiny("flat", **exact)), 0.1
    matrix = matrix_of(operator.forward, SHAPE)
    gram, back_projection = matrix.mH @ matrix, matrix.mH @ y.flatten()

    def solve(weight: Tensor | float, center: Tensor) -> Tensor:
        right = back_projection + weight * center.flatten()
        solution = torch.linalg.solve(gram + weight * torch.eye(len(gram), dtype=gram.dtype), right)
        return solution.view(1, *SHAPE)

    variance = sigma**2 + network.config.noise_floor**2
    states = [solve(variance / network.config.source_std**2, torch.zeros(SHAPE))]
    for k, h in enumerate((1 / 3, 1 / 2, 1)):
        weight = variance / (2 * network.coefficients.log_prior_std[k]).exp()
        time = torch.full((1,), 1 - k / 3, dtype=torch.float64)
        denoised = states[-1] - network.regularizers[k](states[-1], time)
        states.append((1 - h) * states[-1] + h * solve(weight, denoised))
    noise = torch.full((1,), sigma, dtype=torch.float64)
    assert_follows(network.trajectory(y, operator, noise).states, states)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_preset_has_a_trajectory_and_takes_every_loss(name: str) -> None:
    y, operator = problem()
    network, target = network_of(tiny(name)), operator.adjoint(y).abs() + 0j
    for form in ("state", "velocity", "endpoint"):
        network.zero_grad()
        trajectory = network.trajectory(y, operator, torch.tensor([0.1, 0.2], dtype=torch.float64))
        assert len(trajectory.states) == len(trajectory.endpoints) + 1 == network.config.n_cascades + 1
        config = ObjectiveConfig(ssim=0.1, alignment=0.1, alignment_form=form)
        terms = objective(trajectory, target, config)
        assert set(terms) == {"loss", "image", "ssim", "alignment"}
        terms["loss"].backward()
        trained = {name: p.grad for name, p in network.named_parameters() if p.requires_grad}
        assert [name for name, gradient in trained.items() if gradient is None] == []
        assert all(bool(gradient.isfinite().all()) for gradient in trained.values() if gradient is not None)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_preset_lives_through_an_empty_slice(name: str) -> None:
    """Zeros stay zeros where no noise is added, and neither images nor gradients of the others turn to NaN."""
    y, operator = problem()
    network = network_of(tiny(name))
    y[0] = 0
    trajectory = network.trajectory(y, operator, torch.tensor([0.1, 0.2], dtype=torch.float64))
    torch.stack(trajectory.states).abs().square().sum().backward()
    assert bool(trajectory.image.isfinite().all())
    assert name == "sampler" or not trajectory.image[0].any()
    assert all(bool(p.grad.isfinite().all()) for p in network.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_their_own_file(name: str) -> None:
    """What a checkpoint stores of the settings gives them back."""
    config = preset(name)
    assert type(config).from_dict(asdict(config)) == config


def test_gradients_of_the_symmetry_reach_the_transforms() -> None:
    y, operator = problem()
    network = network_of(tiny("ista-net-plus"))
    scan = network.measure(y, operator)
    gradients = []
    for recompute in (False, True):
        network.zero_grad()
        term = symmetry(network, scan, network.trajectory(y, operator, recompute=recompute), recompute)
        assert term is not None
        term.backward()
        gradients.append({name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None})
    assert all(bool(gradients[0][f"regularizers.{k}.back.second.weight"].any()) for k in range(3))
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-12, atol=1e-12)
    other = network_of(tiny("modl"))
    assert symmetry(other, scan, other.trajectory(y, operator)) is None


@pytest.mark.parametrize("config", [UnrolledConfig(), RegularizerConfig(), VarNetConfig(), PriorConfig()])
def test_whole_numbers_are_whole_and_no_bools_and_have_a_bound(config: Settings) -> None:
    """Before anything is built: a billion cascades would be gigabytes."""
    counts = [f.name for f in fields(config) if type(getattr(config, f.name)) is int]
    assert len(counts) >= 2
    for name in counts:
        for wrong in (True, 1.5, 0, 10**9):
            with pytest.raises(ConfigError, match=rf"{name} must be a whole number from \d to \d+; got {wrong}"):
                config.changed(**{name: wrong})
    if isinstance(config, RegularizerConfig | PriorConfig):
        for channels in ([], [8, True], [1.5], [10**9], 32):
            with pytest.raises(ConfigError, match="channels must be a list of whole numbers from 1 to 4096"):
                config.changed(channels=channels)
    for number in (f.name for f in fields(config) if type(getattr(config, f.name)) is float):
        with pytest.raises(ConfigError, match=f"{number} must be .*positive; got True"):
            config.changed(**{number: True})


def test_wrong_settings_of_presets() -> None:
    with pytest.raises(ConfigError, match="did you mean 'varnet'"):
        preset("vernet")
    with pytest.raises(ConfigError, match="did you mean 'n_cascades'"):
        preset("flat", n_cascade=3)
    with pytest.raises(ConfigError, match="did you mean 'n_cascades'"):
        preset("e2e-varnet", n_cascade=3)
    with pytest.raises(ConfigError, match="pools must be a whole number from 1 to 10; got 0"):
        preset("e2e-varnet", pools=0)
    with pytest.raises(ConfigError, match="expected a UnrolledConfig; got VarNetConfig"):
        UnrolledNetwork(config=preset("e2e-varnet"))
    with pytest.raises(ConfigError, match="time_embedding=True, a regularizer of kind"):
        preset("modl", coefficients="flow", solver="heun")
    with pytest.raises(ConfigError, match=r"as \[32, 64, 128\]; got \[32, 64, 96\]"):
        RegularizerConfig(kind="normunet", channels=[32, 64, 96])
    with pytest.raises(ConfigError, match=r"as \[32, 64\]; got \[32\]"):
        RegularizerConfig(kind="normunet", channels=[32])
    with pytest.raises(
        ConfigError, match="kind must be one of unet, cnn, normunet, ista, separable, custom; got 'vit'"
    ):
        UnrolledConfig.from_dict({"regularizer": {"kind": "vit"}})
