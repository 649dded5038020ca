"""Regularizers `R(x, t)`: complex image (batch, y, x) and time (batch,) to complex image.

Any `nn.Module` with this signature can take their place. Those of `series` take images (batch, frame, y, x).
"""

from laminar.networks.channels import as_complex
from laminar.networks.cnn import CNN
from laminar.networks.ista import ISTA
from laminar.networks.normunet import NormUnet
from laminar.networks.phase import smooth_phase
from laminar.networks.series import Neighbors, SeparableCNN
from laminar.networks.unet import UNet

__all__ = ["CNN", "ISTA", "Neighbors", "NormUnet", "SeparableCNN", "UNet", "as_complex", "smooth_phase"]
