"""Endless, seeded training problems of an acquisition."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from laminar.data.acquisition.acquisition import Acquisition, Conditions
from laminar.data.cases import Case
from laminar.data.config import SimulationConfig, log_uniform
from laminar.data.simulated import Objects


@dataclass(frozen=True)
class AcquisitionStream:
    """Simulated problems; a batch has one matrix and number of coils. Noise is drawn where no setting says it."""

    acquisition: Acquisition
    objects: Objects
    config: SimulationConfig
    batch_size: int
    seed: int

    def batch(self, index: int) -> Case:
        random = np.random.default_rng((self.seed, index))
        matrix, make = self.objects.draw(random)
        coils = int(log_uniform(random, self.config.coils[0], self.config.coils[1] + 1))
        cases = []
        for _ in range(self.batch_size):
            generator = torch.Generator().manual_seed(int(random.integers(2**62)))
            conditions = Conditions(coils, log_uniform(random, *self.config.noise_std), generator)
            cases.append(self.acquisition.measure(make(matrix, generator), matrix, conditions).case())
        return Case.stack(cases)
