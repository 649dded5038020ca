"""The flow of a teacher as reference: exact for an analytic prior, computed once, the same for everyone."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from laminar.data.cases import Case
from laminar.data.preparation import Problem
from laminar.errors import ConfigError
from laminar.flow import Trajectory, Velocity, uniform_schedule
from laminar.models import RegularizerConfig, UnrolledConfig, UnrolledNetwork, save
from laminar.operators import Encoding
from laminar.theory import Gaussian, matrix_of
from laminar.training.config import DataConfig, ReferenceConfig, TrainConfig
from laminar.training.data import Repeated, with_reference
from laminar.training.objectives import ObjectiveConfig, alignment
from laminar.training.reference import NetworkTeacher, ReferenceStream, conditional_flow

SHAPE, SIGMA, TAU = (2, 5, 6), 0.2, 0.5


def random_image(seed: int) -> Tensor:
    return torch.randn(SHAPE, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def one_problem() -> Problem:
    mask = (torch.arange(6) % 2 == 0).expand(SHAPE)
    maps = torch.ones(2, 1, 5, 6, dtype=torch.complex128)
    kspace = Encoding(mask, maps).forward(random_image(1))
    return Problem(kspace, Encoding(mask, maps), torch.full((2,), SIGMA), torch.ones(2))


@dataclass
class OracleTeacher:
    """The exact conditional flow of a Gaussian prior with neighboring pixels alike."""

    key: str = "oracle"
    calls: int = 0

    def posteriors(self, problem: Problem) -> list[Gaussian]:
        n = SHAPE[1] * SHAPE[2]
        distance = (torch.arange(n)[:, None] - torch.arange(n)).abs()
        prior = Gaussian(torch.zeros(n).cdouble(), (0.8 ** distance.double()).cdouble())
        found = []
        for index in range(len(problem.y)):
            one = Encoding(problem.encoding.mask[index : index + 1], problem.encoding.sensitivities[index : index + 1])
            matrix = matrix_of(one, SHAPE[1:])
            found.append(prior.given(matrix, problem.y[index].flatten(), SIGMA))
        return found

    def source(self, problem: Problem) -> Tensor:
        return problem.operator.adjoint(problem.y)

    def velocity(self, problem: Problem) -> Velocity:
        self.calls += 1
        posteriors, sources = self.posteriors(problem), self.source(problem).flatten(1)

        def velocity(x: Tensor, time: Tensor) -> Tensor:
            parts = [
                posterior.velocity(x[i].flatten()[None], time, source=sources[i], tau=TAU)
                for i, posterior in enumerate(posteriors)
            ]
            return torch.cat(parts).view(SHAPE)

        return velocity


class One:
    """A stream of one batch."""

    def batch(self, index: int) -> Case:
        return Case(one_problem(), random_image(2))


def test_the_reference_is_the_exact_conditional_flow(tmp_path: Path) -> None:
    """It ends where the closed-form map mu + C^(1/2) (x1 - source) / tau says, and its endpoints are E[x0 | x_t, y]."""
    teacher = OracleTeacher()
    times = uniform_schedule(3)
    reference = ReferenceStream(One(), teacher, times, TAU, tmp_path, tolerance=1e-10).batch(0).reference
    assert reference is not None
    problem = one_problem()
    sources = teacher.source(problem).flatten(1)
    for i, posterior in enumerate(teacher.posteriors(problem)):
        start = reference.source[i].flatten()[None]
        mapped = posterior.flow_map(start, source=sources[i], tau=TAU).view(SHAPE[1:])
        torch.testing.assert_close(reference.image[i], mapped, rtol=0, atol=2e-6)
        for time, state, endpoint in zip(times, reference.states, reference.endpoints, strict=False):
            flat = state[i].flatten()[None]
            expected = posterior.denoised(flat, time, source=sources[i], tau=TAU).view(SHAPE[1:])
            torch.testing.assert_close(endpoint[i], expected, rtol=0, atol=1e-9)


def test_it_is_computed_once_and_remade_if_damaged(tmp_path: Path) -> None:
    teacher = OracleTeacher()
    stream = ReferenceStream(One(), teacher, uniform_schedule(3), TAU, tmp_path)
    first, second = stream.batch(0).reference, stream.batch(7).reference
    assert first is not None
    assert second is not None
    assert teacher.calls == 1  # the two batches are equal in content, which is what counts
    assert torch.equal(first.stacked(), second.stacked())
    (path,) = tmp_path.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:100])
    third = stream.batch(0).reference
    assert third is not None
    assert teacher.calls == 2
    assert torch.equal(first.stacked(), third.stacked())


@pytest.mark.parametrize(
    "change",
    [{"times": uniform_schedule(2)}, {"tau": 0.4}, {"tolerance": 1e-5}, {"seed": 1}, {"teacher": OracleTeacher("b")}],
)
def test_everything_that_defines_it_is_in_its_name(tmp_path: Path, change: dict[str, object]) -> None:
    stream = ReferenceStream(One(), OracleTeacher(), uniform_schedule(3), TAU, tmp_path)
    stream.batch(0)
    replace(stream, **change).batch(0)  # type: ignore[arg-type]
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_alignment_is_zero_on_the_reference_and_only_there(tmp_path: Path) -> None:
    batch = ReferenceStream(One(), OracleTeacher(), uniform_schedule(3), TAU, tmp_path).batch(0)
    assert batch.reference is not None
    for form in ("state", "velocity", "endpoint"):
        assert float(alignment(batch.reference, batch.image, form, reference=batch.reference)) == 0
        assert float(alignment(batch.reference, batch.image, form)) > 0.01


def test_from_a_deterministic_source_there_is_no_flow() -> None:
    with pytest.raises(ConfigError, match="source_noise > 0"):
        NetworkTeacher(UnrolledNetwork(shared=True), "key")
    with pytest.raises(ConfigError, match="shared=True"):
        NetworkTeacher(UnrolledNetwork(source_noise=0.1), "key")
    with pytest.raises(ConfigError, match=r"times above 0\.001"):
        conditional_flow(lambda x, t: x, torch.ones(1, 2), (1.0, 1e-4, 0.0), 1e-3)


def test_a_network_teaches(tmp_path: Path) -> None:
    """A continuous network as teacher: the flow it defines, from a checkpoint, under its checksum."""
    config = UnrolledConfig(
        n_cascades=3, shared=True, source_noise=0.2, regularizer=RegularizerConfig(channels=[4, 6]), cg_iterations=20
    )
    torch.manual_seed(0)
    network = UnrolledNetwork(config=config)
    for parameter in network.regularizers.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    save(network, tmp_path / "teacher")
    teacher = NetworkTeacher.load(tmp_path / "teacher")

    class Single:
        def batch(self, index: int) -> Case:
            p = one_problem()
            small = replace(p, y=p.y.cfloat(), operator=Encoding(p.encoding.mask, p.encoding.sensitivities.cfloat()))
            return Case(small, random_image(2).cfloat())

    stream = ReferenceStream(Repeated(Single(), 1), teacher, config.times, 0.2, tmp_path / "cache", tolerance=1e-5)
    reference = stream.batch(3).reference
    assert isinstance(reference, Trajectory)
    finer = replace(teacher.network.config, n_cascades=3, solver="rk4")
    teacher.network.config = finer
    problem = Single().batch(0).problem
    solved = teacher.network.trajectory(
        problem.y, problem.operator, problem.noise_level, source=reference.source, n_cascades=60
    )
    torch.testing.assert_close(solved.image, reference.image, rtol=0, atol=5e-3)


def test_teaching_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    """The data steps of a teacher are solved to 1e-4 whatever its settings are, and these stay what they are."""
    config = UnrolledConfig(
        n_cascades=2, shared=True, source_noise=0.2, cg_iterations=2, regularizer=RegularizerConfig(channels=[4])
    )
    save(UnrolledNetwork(config=config), tmp_path / "teacher")
    teacher, single, x = NetworkTeacher.load(tmp_path / "teacher"), one_problem(), random_image(3)
    maps = torch.stack([random_image(4), random_image(5)], 1)
    operator = Encoding(single.encoding.mask, maps)
    problem = replace(single, y=operator.forward(random_image(1)), operator=operator)
    network = teacher.network.double()
    scan, time = network.measure(problem.y, problem.operator, problem.noise_level), torch.tensor(0.5)
    tight = replace(scan, cg_iterations=200, cg_tolerance=1e-12)
    with torch.no_grad():
        found, loose, exact = (v(x, time) for v in (teacher.velocity(problem), *map(network.velocity, (scan, tight))))
    assert float((found - exact).norm()) < 0.1 * float((loose - exact).norm())
    assert network.config == config


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"reference\.teacher"):
        ReferenceConfig(kind="ode")
    with pytest.raises(ConfigError, match="velocity at every time"):
        TrainConfig(objective=ObjectiveConfig(flow_matching=1.0))
    with pytest.raises(ConfigError, match="source_noise > 0"):
        TrainConfig(model=UnrolledConfig(shared=True), objective=ObjectiveConfig(flow_matching=1.0))
    ode, repeated = ReferenceConfig(kind="ode", teacher="somewhere"), DataConfig(distinct_batches=3)
    with pytest.raises(ConfigError, match="at fixed times"):
        TrainConfig(model=UnrolledConfig(coefficients="learned"), reference=ode, data=repeated)
    with pytest.raises(ConfigError, match="distinct_batches > 0"):
        TrainConfig(reference=ode)
    with pytest.raises(ConfigError, match="alignment_norm"):
        ObjectiveConfig(alignment_norm="l3")  # type: ignore[arg-type]


def test_student_and_teacher_start_alike(tmp_path: Path) -> None:
    config = UnrolledConfig(n_cascades=2, shared=True, source_noise=0.2, regularizer=RegularizerConfig(channels=[4]))
    save(UnrolledNetwork(config=config), tmp_path / "teacher")
    reference = ReferenceConfig(kind="ode", teacher=str(tmp_path / "teacher"), cache=str(tmp_path / "cache"))
    data = DataConfig(distinct_batches=1)
    assert isinstance(with_reference(One(), TrainConfig(model=config, data=data, reference=reference)), ReferenceStream)
    with pytest.raises(ConfigError, match=r"source_noise is 0\.1"):
        with_reference(One(), TrainConfig(model=config.changed(source_noise=0.1), data=data, reference=reference))
